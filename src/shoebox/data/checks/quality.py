"""Checks of what can be seen: blank, dark, bright, blurred pictures, and those that show next to nothing."""

import numpy as np

from shoebox.data.check import CHECKS, Action, Evidence, Finding

BLANK = 2.0  # standard deviation of the grey levels
DARK, BRIGHT = 18.0, 245.0  # mean grey level
SIMPLE = 2.5  # bits of entropy of the grey levels; photographs have 6 to 8
SIGMAS = 5.0  # robust standard deviations below the usual sharpness, on a logarithmic scale
BLURRED = 0.15  # sharpness above which nothing is called blurred; a sharp photograph at 256 px has 0.5 to 1.5


def _finding(
    evidence: Evidence, chosen: np.ndarray, detail: str, field: str, means: str, do: str, action: Action = ""
) -> Finding:
    rows = evidence.readable[chosen]
    values = evidence.records[field][rows]
    table = [
        evidence.row(int(row), detail.format(value), action=action) for row, value in zip(rows, values, strict=True)
    ]
    return Finding("warning", len(table), means, do, tuple(table))


@CHECKS.register
def blank(evidence: Evidence) -> Finding:
    """Pictures of one colour."""
    spread = evidence.records["spread"][evidence.readable]
    return _finding(
        evidence,
        np.flatnonzero(spread < BLANK),
        "grey levels vary by {:.1f}",
        "spread",
        "pictures of a single colour",
        "nothing can be learnt of them: set them aside",
        "quarantine",
    )


@CHECKS.register
def dark(evidence: Evidence) -> Finding:
    """Pictures that are nearly black."""
    seen = evidence.records[evidence.readable]
    return _finding(
        evidence,
        np.flatnonzero((seen["brightness"] < DARK) & (seen["spread"] >= BLANK)),
        "mean grey level {:.0f} of 255",
        "brightness",
        "pictures that are nearly black",
        "look at them; set aside those that show nothing",
    )


@CHECKS.register
def bright(evidence: Evidence) -> Finding:
    """Pictures that are nearly white and hold little else."""
    seen = evidence.records[evidence.readable]
    return _finding(
        evidence,
        np.flatnonzero((seen["brightness"] > BRIGHT) & (seen["spread"] >= BLANK) & (seen["spread"] < 20)),
        "mean grey level {:.0f} of 255",
        "brightness",
        "pictures that are nearly white",
        "look at them; set aside those that show nothing",
    )


@CHECKS.register
def low_information(evidence: Evidence) -> Finding:
    """Pictures with few grey levels, where photographs are usual."""
    seen = evidence.records[evidence.readable]
    if len(seen) and np.median(seen["entropy"]) < SIMPLE + 2:
        return Finding("warning", 0, "", "")  # drawings or scans: few levels are their nature
    return _finding(
        evidence,
        np.flatnonzero((seen["entropy"] < SIMPLE) & (seen["spread"] >= BLANK)),
        "{:.1f} bits a pixel",
        "entropy",
        "pictures that show next to nothing: placeholders, drawings, empty frames",
        "look at them; placeholders such as 'image not available' are to be set aside",
    )


@CHECKS.register
def blurred(evidence: Evidence) -> Finding | None:
    """Pictures far less sharp than the others."""
    seen = evidence.records[evidence.readable]
    clear = seen["spread"] >= BLANK
    if clear.sum() < 20:
        return None
    sharpness = np.log(np.maximum(seen["sharpness"], 1e-3))
    middle = np.median(sharpness[clear])
    deviation = 1.4826 * np.median(np.abs(sharpness[clear] - middle))
    soft = clear & (sharpness < middle - SIGMAS * deviation) & (seen["sharpness"] < BLURRED)
    chosen = np.flatnonzero(soft)
    chosen = chosen[np.argsort(seen["sharpness"][chosen], kind="stable")]
    return _finding(
        evidence,
        chosen,
        "sharpness {:.2f}",
        "sharpness",
        f"blurred pictures, far less sharp than usual ({np.exp(middle):.2f})",
        "keep them if such pictures will be asked about later; else set them aside",
    )
