"""Slices: on which kinds of pictures the classifier does worse than on the others.

In: an Evaluation and the pictures it scored. Out: the accuracy of each slice (the darkest fifth, the PNG files, one
source folder, one heap of the feature space, …), and which are worse by more than chance, all slices considered.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from shoebox.data.index import PARTS
from shoebox.data.pack import Pack, Stream
from shoebox.data.picture import Unreadable, pixel_count
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.intervals import wilson
from shoebox.evaluation.significance import SIGNIFICANT, holm

LEAST = 20  # pictures in a slice: fewer show nothing
MOST = 30  # values of a kind (file types, folders): more would be many tests with little in each
FIFTHS = {
    "size": ("smallest", "small", "middling", "large", "largest"),
    "brightness": ("darkest", "dark", "middling", "bright", "brightest"),
    "sharpness": ("blurriest", "soft", "middling", "sharp", "sharpest"),
}
CLUSTERS = 8
CHUNK = 512  # pictures looked at a time


@dataclass(frozen=True)
class Slice:
    """Some of the pictures.

    Attributes:
        kind: what they were chosen by: size, brightness, sharpness, file type, folder, or look-alikes (clusters of the
            features).
        name: which they are, in words.
        pictures: how many, of those with a label.
        accuracy, low, high: the share that is right, with its 95 % interval (Wilson).
        rest: the share that is right among all other pictures.
        p: how often chance alone would put as many mistakes here (Fisher's exact test, one-sided), adjusted by Holm for
            the number of slices.
    """

    kind: str
    name: str
    pictures: int
    accuracy: float
    low: float
    high: float
    rest: float
    p: float

    @property
    def worse(self) -> bool:
        """Whether it is significantly worse than the rest."""
        return self.p < SIGNIFICANT


def slices(evaluation: Evaluation, packed: Pack | Stream | None = None) -> list[Slice]:
    """Measure every slice of at least `LEAST` labelled pictures, the most significantly worse first.

    Args:
        evaluation: with features for the clusters.
        packed: holds the pictures of the evaluation, found by path, for size, brightness and sharpness; without it
            those are left out.
    """
    known = np.flatnonzero(evaluation.labelled)
    wrong = evaluation.predictions[known] != evaluation.labels[known]
    found, tests = [], []
    for kind, name, rows in _members(evaluation, packed, known):
        count, mistakes = int(rows.sum()), int(wrong[rows].sum())
        if LEAST <= count <= len(known) - LEAST:
            others = len(known) - count
            rest = 1 - (int(wrong.sum()) - mistakes) / others
            low, high = wilson(count - mistakes, count)
            found.append((kind, name, count, 1 - mistakes / count, low, high, rest))
            tests.append(_fisher(mistakes, count, int(wrong.sum()), len(known)))
    made = [Slice(*measured, p) for measured, p in zip(found, holm(tests), strict=True)]
    return sorted(made, key=lambda one: (one.p, one.accuracy))


def _fisher(mistakes: int, count: int, all_mistakes: int, everything: int) -> float:
    """The chance that of `count` pictures drawn from everything at least `mistakes` are wrong: the upper tail of the
    hypergeometric distribution, summed here since importing scipy.stats takes longer than all slices."""
    factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, everything + 1)))])  # its logarithm

    def ways(of: int, some: NDArray[np.int64]) -> NDArray[np.float64]:
        return factorial[of] - factorial[some] - factorial[of - some]

    right = everything - all_mistakes
    wrong = np.arange(max(mistakes, count - right), min(count, all_mistakes) + 1)
    chances = ways(all_mistakes, wrong) + ways(right, count - wrong) - ways(everything, np.array(count))
    return float(min(np.exp(chances).sum(), 1.0))


Members = Iterator[tuple[str, str, NDArray[np.bool_]]]


def _members(evaluation: Evaluation, packed: Pack | Stream | None, known: NDArray[np.int64]) -> Members:
    """Each slice's kind, name, and which of the known rows are in it."""
    paths = [PurePosixPath(evaluation.paths[row]) for row in known.tolist()]
    classes = set(evaluation.classes)
    yield from _by_value("file type", [path.suffix.lower().lstrip(".") or "none" for path in paths])
    yield from _by_value("folder", [_folder(path, classes) for path in paths])
    if packed is not None:
        row_of = {path: row for row, path in enumerate(packed.index.paths)}
        rows = np.array([row_of[evaluation.paths[row]] for row in known.tolist()], dtype=np.int64)
        brightness, sharpness = _looks(packed, rows)
        yield from _by_fifth("size", _sizes(packed, rows), "pixels")
        yield from _by_fifth("brightness", brightness, "of 255")
        yield from _by_fifth("sharpness", sharpness, "Laplacian variance")
    if evaluation.features is not None and len(known) >= CLUSTERS * LEAST:
        yield from _by_cluster(evaluation, known)


def _by_value(kind: str, values: list[str]) -> Members:
    names, which = np.unique(np.array(values, dtype=object), return_inverse=True)
    if 2 <= len(names) <= MOST:
        for number, name in enumerate(names):
            yield kind, str(name), which == number


def _folder(path: PurePosixPath, classes: set[str]) -> str:
    """Where a picture comes from: its folders, without those that only say its class or its part."""
    return "/".join(folder for folder in path.parent.parts if folder not in classes and folder not in PARTS) or "."


def _by_fifth(kind: str, values: NDArray[np.float64], unit: str) -> Members:
    """Five equally large slices; fewer where many values are equal, none where all are."""
    finite = np.isfinite(values)
    if not finite.any() or np.ptp(values[finite]) == 0:
        return
    cuts = np.quantile(values[finite], [0.2, 0.4, 0.6, 0.8])
    place = np.where(finite, np.searchsorted(cuts, values, side="right"), -1)
    for number, word in enumerate(FIFTHS[kind]):
        rows = place == number
        if rows.any():
            yield kind, f"{word} fifth ({values[rows].min():,.0f} to {values[rows].max():,.0f} {unit})", rows


def _by_cluster(evaluation: Evaluation, known: NDArray[np.int64]) -> Members:
    """Heaps of similar pictures in feature space (k-means on features of length 1)."""
    from scipy.cluster.vq import kmeans2  # scikit-learn's takes seconds to import

    assert evaluation.features is not None
    features = evaluation.features[known].astype(np.float32)
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    if len(np.unique(features[: CLUSTERS * LEAST], axis=0)) < CLUSTERS:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a heap that nothing is left in, which is no slice
        _, which = kmeans2(features, CLUSTERS, iter=50, minit="++", seed=0)
    for number in range(CLUSTERS):
        rows = which == number
        if not rows.any():
            continue
        labels = np.bincount(evaluation.labels[known][rows], minlength=len(evaluation.classes))
        top = np.argsort(-labels, kind="stable")[:2]
        inside = " and ".join(f"{labels[k] / rows.sum():.0%} {evaluation.classes[k]}" for k in top if labels[k])
        yield "look-alikes", f"cluster {number + 1}, {inside}", rows


def _sizes(packed: Pack | Stream, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Pixels of each file's picture; nan where its header can no longer be read."""
    found = np.full(len(rows), np.nan)
    for place, row in enumerate(rows.tolist()):
        try:
            found[place] = pixel_count(packed.index.file(row))
        except Unreadable:
            continue
    return found


def _looks(packed: Pack | Stream, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of stored pictures, the mean luma (0…255) and the variance of its Laplacian, which is small for what is blurred.

    Pech-Pacheco et al. 2000 (doi.org/10.1109/ICPR.2000.903548); luma as in ITU-R BT.601.
    """
    brightness, sharpness = np.empty(len(rows)), np.empty(len(rows))
    for start in range(0, len(rows), CHUNK):
        here = slice(start, start + CHUNK)
        luma = packed.gather(rows[here]).astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
        edges = (
            4 * luma[:, 1:-1, 1:-1] - luma[:, :-2, 1:-1] - luma[:, 2:, 1:-1] - luma[:, 1:-1, :-2] - luma[:, 1:-1, 2:]
        )
        brightness[here] = luma.mean(axis=(1, 2))
        sharpness[here] = edges.var(axis=(1, 2)) if edges.size else 0.0
    return brightness, sharpness
