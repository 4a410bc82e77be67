"""What more pictures would bring: the same probe, learnt from fewer and fewer of the pictures there are.

In: features and labels, and a function that fits and predicts. Out: a `Curve`; and from it, by a power law of the error
(Hestness et al. 2017, arxiv.org/abs/1712.00409), what twice as many pictures would bring, with an interval.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shoebox.data.check import CHECKS, Curve, Evidence, Finding, Row

SHARES = (0.125, 0.25, 0.5, 1.0)
REPEATS = 4
MOST = 8_000
"""Pictures that are learnt from at most: beyond, the curve is known well enough and the fits take long."""
WORTH = 0.005  # gain of accuracy by doubling that is worth telling

Fit = Callable[[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]], NDArray[np.int64]]
"""From features and labels to learn from, and features asked about, to the labels predicted."""


def measure_curve(
    features: NDArray[np.float32], labels: NDArray[np.int64], classes: int, fit: Fit, *, seed: int = 0
) -> Curve | None:
    """Learn from a rising share of the pictures, `REPEATS` times; None where there are too few.

    Args:
        features: (N, D).
        labels: (N,) from 0 to classes - 1.
        fit: what learns.
    """
    held = min(len(labels) // 4, 4_000)
    most = min(len(labels) - held, MOST)
    sizes = np.array([int(share * most) for share in SHARES])
    if sizes[0] < 2 * classes:
        return None
    accuracy = np.full((REPEATS, len(sizes)), np.nan)
    recall = np.full((REPEATS, len(sizes), classes), np.nan)
    for repeat in range(REPEATS):
        order = np.random.default_rng([seed, repeat]).permutation(len(labels))
        asked, learnt = order[:held], order[held : held + most]
        for place, size in enumerate(sizes.tolist()):
            rows = learnt[:size]
            right = fit(features[rows], labels[rows], features[asked]) == labels[asked]
            accuracy[repeat, place] = right.mean()
            counts = np.bincount(labels[asked], minlength=classes)
            found = np.bincount(labels[asked], right, minlength=classes)
            recall[repeat, place, counts > 0] = found[counts > 0] / counts[counts > 0]
    return Curve(sizes, accuracy, recall)


def doubled(sizes: NDArray[np.int64], scores: NDArray[np.float64]) -> tuple[float, float, float]:
    """The gain of a score by twice as many pictures: (expected, low, high), 95 % of it.

    The error is taken to fall as a power of the number of pictures, on each repetition by itself; the interval is
    Student's t over them.

    Args:
        sizes: (S,).
        scores: (R, S) from 0 to 1.
    """
    from scipy.stats import t

    errors = np.clip(1 - scores, 1e-3, 1)
    logs = np.log(sizes.astype(np.float64))
    slopes = [min(float(np.polyfit(logs, np.log(row), 1)[0]), 0.0) for row in errors]
    gains = np.array([row[-1] * (1 - 2**slope) for row, slope in zip(errors, slopes, strict=True)])
    if len(gains) < 2:
        return float(gains.mean()), 0.0, 1.0
    half = float(t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains)))
    mean = float(gains.mean())
    return mean, max(0.0, mean - half), mean + half


@CHECKS.register
def more_pictures(evidence: Evidence) -> Finding | None:
    """Which classes would gain most from more pictures."""
    learnt = evidence.learnt
    if learnt is None or learnt.curve is None:
        return None
    curve, names = learnt.curve, evidence.index.classes
    gain, low, high = doubled(curve.sizes, curve.accuracy)
    counts = np.bincount(evidence.index.labels[learnt.rows], minlength=len(names))
    bars, rows = [], []
    for k in range(len(names)):
        known = ~np.isnan(curve.recall[:, :, k]).any(1)
        if known.sum() >= 2:
            expected, least, most = doubled(curve.sizes, curve.recall[known][:, :, k])
            bars.append((names[k], expected, least, most))
            detail = f"{counts[k]:,} pictures; recall {_points(expected, least, most)} with twice as many"
            rows.append((expected, Row(label=names[k], detail=detail)))
    rows.sort(key=lambda entry: -entry[0])
    bars.sort(key=lambda entry: -entry[1])
    worth = gain >= WORTH
    best = bars[0][0] if bars else ""
    return Finding(
        "note",
        len(rows),
        f"classes; twice as many pictures would bring {_points(gain, low, high)} of accuracy, by {learnt.how}",
        f"collect more of '{best}' first" if worth and best else "more pictures of the same kind would bring little",
        tuple(row for _, row in rows),
        ("gain of recall by twice as many pictures", tuple(bars)),
    )


def _points(gain: float, low: float, high: float) -> str:
    return f"+{100 * gain:.1f} points ({100 * low:.1f} to {100 * high:.1f})"
