"""Check for shortcuts: can something that is not in the picture's content tell the class?

A small decision tree is asked to predict the class from picture size, brightness, file type, JPEG quality, file name or
border alone, on held-out folds. A class that it can pick out nearly perfectly is one that a network can learn to
recognise by that instead of by what is shown (Geirhos et al. 2020, "Shortcut learning in deep neural networks").
"""

import re
from collections.abc import Callable
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from shoebox.data.check import CHECKS, Evidence, Finding, Row

SURE = 0.9
"""The area under the ROC curve of one class against the rest from which on it counts as given away. What is natural
stays below: brightness tells ships from frogs in CIFAR-10 with 0.7, border colours aeroplanes with 0.85."""
MOSTLY = 0.75
"""The same for the average precision above chance, up to 1: reached where most of a class is given away for certain."""
MOST = 20_000  # pictures that are looked at
FEW = 10  # pictures of a class below which nothing is said of it
FOLDS = 5

Numbers = NDArray[np.float64]
_TOKENS = re.compile(r"\d+")


def _size(evidence: Evidence, rows: NDArray[np.int64]) -> Numbers:
    seen = evidence.records[rows]
    return np.stack([seen["width"], seen["height"]], 1).astype(np.float64)


def _aspect(evidence: Evidence, rows: NDArray[np.int64]) -> Numbers:
    seen = evidence.records[rows]
    return (seen["width"] / np.maximum(seen["height"], 1)).astype(np.float64)[:, None]


def _brightness(evidence: Evidence, rows: NDArray[np.int64]) -> Numbers:
    seen = evidence.records[rows]
    return np.stack([seen["brightness"], seen["spread"]], 1).astype(np.float64)


def _file_type(evidence: Evidence, rows: NDArray[np.int64]) -> Numbers:
    seen = evidence.records[rows]
    kinds = [f"{f.decode()} {m.decode()}" for f, m in zip(seen["format"], seen["mode"], strict=True)]
    return _one_hot(kinds)


def _jpeg_quality(evidence: Evidence, rows: NDArray[np.int64]) -> Numbers:
    return evidence.records["quality"][rows].astype(np.float64)[:, None]


def _file_name(evidence: Evidence, rows: NDArray[np.int64]) -> Numbers:
    """The shape of the name: IMG_1234.jpg is IMG_#.jpg. Names of the classes' own making say nothing new."""
    names = [PurePath(evidence.index.paths[i]).name for i in rows.tolist()]
    shapes = [_TOKENS.sub("#", name) for name in names]
    lengths = np.array([[len(name), sum(c.isdigit() for c in name)] for name in names], np.float64)
    return np.concatenate([_one_hot(shapes), lengths], 1)


def _border(evidence: Evidence, rows: NDArray[np.int64]) -> Numbers:
    return evidence.records["border"][rows].reshape(len(rows), -1).astype(np.float64)


CUES: dict[str, Callable[[Evidence, NDArray[np.int64]], Numbers]] = {
    "picture size": _size,
    "aspect ratio": _aspect,
    "brightness": _brightness,
    "file type": _file_type,
    "JPEG quality": _jpeg_quality,
    "file name": _file_name,
    "border": _border,
}


@CHECKS.register
def shortcuts(evidence: Evidence) -> Finding | None:
    """Classes that can be told without looking at what the pictures show."""
    rows = evidence.readable[evidence.index.labels[evidence.readable] >= 0]
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:MOST])
    labels = evidence.index.labels[rows]
    counts = np.bincount(labels, minlength=len(evidence.index.classes))
    judged = np.flatnonzero(counts >= FEW)
    if len(judged) < 2:
        return None
    kept = np.isin(labels, judged)
    rows, labels = rows[kept], labels[kept]
    table: list[tuple[float, Row]] = []
    strongest: dict[str, float] = {}
    for cue, measure in CUES.items():
        found = giveaways(measure(evidence, rows), labels)
        strongest[cue] = max((area for area, _ in found.values()), default=0.5)
        told = {label: areas for label, areas in found.items() if areas[0] > SURE or areas[1] > MOSTLY}
        if cue == "file name" and len(told) == len(judged):
            continue  # every class has names of its own: a way of filing, not a flaw
        for label, (area, gain) in told.items():
            detail = f"{cue} alone tells it (AUC {area:.3f}, average precision {gain:.2f} above chance)"
            table.append((area, Row(label=evidence.index.classes[label], detail=detail)))
    table.sort(key=lambda entry: -entry[0])
    cues = sorted({row.detail.partition(" alone")[0] for _, row in table})
    return Finding(
        "note" if cues == ["file name"] else "error",
        len(table),
        f"classes that can be told by {', '.join(cues)} alone, not by what is shown",
        "bring these pictures into one form (crop the border, save alike), or the network will learn the form",
        tuple(row for _, row in table),
        ("strongest class, area under the ROC curve", tuple((cue, v, None, None) for cue, v in strongest.items())),
    )


def giveaways(values: Numbers, labels: NDArray[np.int64]) -> dict[int, tuple[float, float]]:
    """How well a tree's held-out probabilities from `values` tell each class from the rest.

    Args:
        values: (N, F).
        labels: (N,); each class has at least `FEW` pictures.

    Returns:
        class → the area under the ROC curve, and the average precision above chance, as a share of what there is above.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    if not len(values) or np.ptp(values, axis=0).max() == 0:
        return {}
    tree = DecisionTreeClassifier(min_samples_leaf=max(3, len(labels) // 1000), max_depth=12, random_state=0)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    found = cross_val_predict(tree, values, labels, cv=folds, method="predict_proba")
    areas = {}
    for column, label in enumerate(np.unique(labels).tolist()):
        mine = labels == label
        precision = float(average_precision_score(mine, found[:, column]))
        chance = float(mine.mean())
        areas[label] = float(roc_auc_score(mine, found[:, column])), (precision - chance) / max(1 - chance, 1e-9)
    return areas


def _one_hot(names: list[str], most: int = 32) -> Numbers:
    """A column for each of the most frequent names."""
    kinds, inverse, counts = np.unique(np.array(names, dtype=object), return_inverse=True, return_counts=True)
    frequent = np.argsort(-counts, kind="stable")[:most]
    return (inverse[:, None] == frequent).astype(np.float64) if len(kinds) > 1 else np.zeros((len(names), 1))
