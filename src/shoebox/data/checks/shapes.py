"""Checks of the pictures' sizes: too small to show anything, needlessly large, or much longer than wide."""

import numpy as np
from numpy.typing import NDArray

from shoebox.data.check import CHECKS, Evidence, Finding

TINY = 16  # px of the shorter side
SMALLER = 8  # times smaller than half of the pictures are
HUGE = 50_000_000  # pixels
LONG = 4.0  # times longer than wide


def _sides(evidence: Evidence) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    rows = evidence.readable
    return rows, evidence.records["width"][rows].astype(np.int64), evidence.records["height"][rows].astype(np.int64)


@CHECKS.register
def tiny(evidence: Evidence) -> Finding | None:
    """Pictures far smaller than the others."""
    rows, width, height = _sides(evidence)
    if not len(rows):
        return None
    shorter = np.minimum(width, height)
    usual = float(np.median(shorter))
    small = np.flatnonzero((shorter < min(TINY, usual)) | (shorter * SMALLER < usual))
    small = small[np.argsort(shorter[small], kind="stable")]
    found = [
        evidence.row(int(rows[i]), f"{width[i]} × {height[i]} px", action="quarantine" if shorter[i] < 8 else "")
        for i in small
    ]
    return Finding(
        "warning",
        len(found),
        f"tiny pictures: under {TINY} px, or {SMALLER} times smaller than usual ({usual:.0f} px)",
        "thumbnails and icons teach little: replace them by the originals, or set them aside",
        tuple(found),
    )


@CHECKS.register
def huge(evidence: Evidence) -> Finding:
    """Pictures so large that reading them costs more than they tell."""
    rows, width, height = _sides(evidence)
    large = np.flatnonzero(width * height > HUGE)
    large = large[np.argsort(-(width * height)[large], kind="stable")]
    found = [evidence.row(int(rows[i]), f"{width[i]:,} × {height[i]:,} px") for i in large]
    return Finding(
        "note",
        len(found),
        f"pictures of over {HUGE / 1e6:.0f} million pixels",
        "they are read once and stored small; nothing has to be done unless reading is slow",
        tuple(found),
    )


@CHECKS.register
def stretched(evidence: Evidence) -> Finding:
    """Pictures of an extreme aspect ratio."""
    rows, width, height = _sides(evidence)
    ratio = np.maximum(width, height) / np.maximum(np.minimum(width, height), 1)
    long = np.flatnonzero(ratio > LONG)
    long = long[np.argsort(-ratio[long], kind="stable")]
    found = [evidence.row(int(rows[i]), f"{width[i]} × {height[i]} px, {ratio[i]:.1f} to 1") for i in long]
    return Finding(
        "note",
        len(found),
        f"pictures over {LONG:.0f} times longer than wide, which a square distorts",
        "crop them to what they show, or train with --set fit=pad",
        tuple(found),
    )
