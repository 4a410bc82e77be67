"""Checks of the classes: how many pictures each has, and names that may be one class written twice."""

from collections import defaultdict

import numpy as np

from shoebox.data.check import CHECKS, Evidence, Finding, Row
from shoebox.data.index import UNLABELLED, listed
from shoebox.data.names import lookalike

IMBALANCE = 10  # times more pictures in the largest class than in the smallest
FEW = 20  # pictures of a class below which a score of it says little


def _counts(evidence: Evidence) -> np.ndarray:
    labels = evidence.index.labels
    return np.bincount(labels[labels != UNLABELLED], minlength=len(evidence.index.classes))


@CHECKS.register
def imbalance(evidence: Evidence) -> Finding | None:
    """Classes with many more pictures than others."""
    counts = _counts(evidence)
    present = np.flatnonzero(counts)
    if len(present) < 2 or counts[present].max() < IMBALANCE * counts[present].min():
        return None
    order = present[np.argsort(counts[present], kind="stable")]
    median = float(np.median(counts[present]))
    least, most = order[0], order[-1]
    names = evidence.index.classes
    rows = [
        Row(label=names[i], detail=f"{counts[i]:,} pictures, {counts[i] / median:.2g} of the median")
        for i in order
        if counts[i] * 3 < median or counts[i] > 3 * median
    ]
    return Finding(
        "warning",
        max(len(rows), 2),
        f"unbalanced: {counts[most]:,} pictures of {listed([names[most]])}, {counts[least]:,} of "
        f"{listed([names[least]])}",
        "judge by macro F1, not by accuracy; collect more of the small classes, or --set sampling=balanced",
        tuple(rows),
        ("pictures a class", tuple((names[i], float(counts[i]), None, None) for i in order[::-1])),
    )


@CHECKS.register
def small_classes(evidence: Evidence) -> Finding:
    """Classes with too few pictures, or none."""
    counts, names = _counts(evidence), evidence.index.classes
    few = np.flatnonzero(counts < FEW)
    few = few[np.argsort(counts[few], kind="stable")]
    rows = [Row(label=names[i], detail=f"{counts[i]} pictures" if counts[i] else "empty") for i in few]
    return Finding(
        "warning",
        len(rows),
        f"classes of fewer than {FEW} pictures, {int((counts == 0).sum())} of them empty",
        "a score of such a class is chance: collect more, merge it, or leave it out",
        tuple(rows),
    )


@CHECKS.register
def class_names(evidence: Evidence) -> Finding:
    """Names that differ only in capitals, spacing or the encoding of accents."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in evidence.index.classes:
        alike["".join(c for c in lookalike(name) if c not in " _-.")].append(name)
    rows = [
        Row(label=name, detail=f"beside {listed([other for other in names if other != name])}", group=number)
        for number, names in enumerate(group for group in alike.values() if len(group) > 1)
        for name in names
    ]
    return Finding(
        "error",
        len(rows),
        "classes whose names differ only in capitals, spacing or accents",
        "if they are one class, put their pictures into one folder: the network is asked to tell them apart",
        tuple(rows),
    )
