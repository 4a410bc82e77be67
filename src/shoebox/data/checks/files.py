"""Checks of the files themselves: can they be read, are they what their names say, how are they stored."""

from collections import Counter
from pathlib import PurePath

import numpy as np

from shoebox.data.check import CHECKS, Evidence, Finding, Row

_ENDINGS = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif", "mpo"),
    "MPO": ("jpg", "jpeg", "jpe", "jfif", "mpo"),
    "PNG": ("png", "apng"),
    "GIF": ("gif",),
    "WEBP": ("webp",),
    "BMP": ("bmp", "dib"),
    "TIFF": ("tif", "tiff"),
    "PPM": ("ppm", "pgm", "pbm", "pnm"),
    "AVIF": ("avif", "avifs"),
    "HEIF": ("heic", "heif", "hif"),
}
_MODES = {
    "CMYK": "CMYK, converted",
    "P": "palette, converted",
    "1": "black and white",
    "I": "32-bit, scaled",
    "F": "floating point, scaled",
    "LAB": "Lab, converted",
}


@CHECKS.register
def unreadable(evidence: Evidence) -> Finding | None:
    """Files that are damaged, cut short, empty or no pictures."""
    broken = np.flatnonzero(evidence.records["problem"] != b"")
    reasons = evidence.records["problem"]
    rows = [evidence.row(i, reasons[i].decode("utf-8", "replace"), action="quarantine") for i in broken.tolist()]
    rows += [Row(path=s.path, detail=s.reason) for s in evidence.index.skipped]
    common = Counter(row.detail for row in rows).most_common(1)
    return Finding(
        "error" if len(broken) else "warning",
        len(rows),
        f"files that cannot be used; most often: {common[0][0]}" if common else "",
        "fetch them again, or set them aside; training skips them",
        tuple(rows),
    )


@CHECKS.register
def misnamed(evidence: Evidence) -> Finding:
    """Files whose ending belongs to another format."""
    rows = []
    for i in evidence.readable.tolist():
        format = evidence.records["format"][i].decode()
        ending = PurePath(evidence.index.paths[i]).suffix.lower().removeprefix(".")
        if ending not in _ENDINGS.get(format, (ending,)):
            rows.append(evidence.row(i, f"ends in .{ending}, but is {format}"))
    return Finding(
        "note",
        len(rows),
        "files whose ending is that of another format",
        "harmless here, since the content decides; other programs may stumble",
        tuple(rows),
    )


@CHECKS.register
def odd_modes(evidence: Evidence) -> Finding:
    """Pictures that are not plain 8-bit RGB or grey."""
    records, rows = evidence.records, []
    for i in evidence.readable.tolist():
        mode, seen = records["mode"][i].decode(), []
        if mode.startswith("I;16"):
            seen.append("16-bit, scaled")
        elif mode in _MODES and not (mode == "P" and records["format"][i] == b"GIF"):
            seen.append(_MODES[mode])
        if records["transparent"][i]:
            seen.append("transparent, laid over white")
        if records["animated"][i]:
            seen.append("animated, first picture used")
        if seen:
            rows.append(evidence.row(i, "; ".join(seen)))
    return Finding(
        "note",
        len(rows),
        "pictures with another colour mode, transparency or several frames",
        "see that the thumbnails look right; convert them if not",
        tuple(rows),
    )


@CHECKS.register
def rotated(evidence: Evidence) -> Finding:
    """Pictures that EXIF says to turn."""
    turned = np.flatnonzero(evidence.records["orientation"] > 1)
    rows = [evidence.row(i, f"EXIF orientation {evidence.records['orientation'][i]}") for i in turned.tolist()]
    return Finding(
        "note",
        len(rows),
        "pictures stored sideways or upside down, with a note to turn them",
        "nothing: Shoebox turns them upright; programs that do not will see them lying",
        tuple(rows),
    )
