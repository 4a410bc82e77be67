"""Metrics on many resamples at once: the arithmetic behind `shoebox.evaluation.intervals`.

In: what was scored, and which rows each resample drew. Out: a metric's value on each. A metric of `METRICS` without a
fast way here is computed resample by resample, which is right and slow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoebox.evaluation.metrics import METRICS, TERMS
from shoebox.evaluation.reliability import place

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scored:
    """Labels and predictions (N,) and probabilities (N, K)."""

    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    probabilities: Doubles


class Sample:
    """B resamples.

    Attributes:
        draws: (B, N) the rows drawn.
        weights: (B, N) float32, how often each row was drawn.
        right, supported, predicted: (B, K) float64, rows a class: rightly predicted, with that label, predicted as it.
    """

    def __init__(self, scored: Scored, draws: NDArray[np.int64]) -> None:
        self.draws = draws
        self.weights = _count(draws)
        classes = scored.probabilities.shape[1]
        hits = np.where(scored.predictions == scored.labels, scored.labels, classes)
        self.right = self.sums(hits, classes + 1)[:, :classes]
        self.supported = self.sums(scored.labels, classes)
        self.predicted = self.sums(scored.predictions, classes)

    def sums(self, groups: NDArray[np.int64], number: int) -> Doubles:
        """(B, number): how many drawn rows fall into each group; `groups` (N,) says which is whose."""
        order = np.argsort(groups, kind="stable")
        present, starts = np.unique(groups[order], return_index=True)
        found = np.zeros((len(self.weights), number))
        found[:, present] = np.add.reduceat(np.take(self.weights, order, axis=1), starts, axis=1)
        return found


Worker = Callable[[Sample], Doubles]


def _count(draws: NDArray[np.int64]) -> NDArray[np.float32]:
    """How often each row was drawn in each resample: (B, N)."""
    cells = draws + np.arange(len(draws))[:, None] * draws.shape[1]
    return np.bincount(cells.ravel(), minlength=draws.size).reshape(draws.shape).astype(np.float32)


def worker(name: str, scored: Scored) -> Worker:
    """What computes a metric, "name" or "name(option=value)", on resamples."""
    metric, options = METRICS.check(name)
    settings: dict[str, Any] = {**METRICS.options(metric), **options}
    if metric in _COUNTED:
        return _COUNTED[metric]
    if metric == "roc_auc":
        return _areas(scored)
    if metric in ("ece", "adaptive_ece"):
        return _gaps(scored, settings["bins"], metric == "adaptive_ece")
    if metric in TERMS:
        terms = TERMS[metric](scored.labels, scored.probabilities, **settings).astype(np.float32)
        return lambda sample: (sample.weights @ terms / len(terms)).astype(np.float64)
    return lambda sample: np.array(
        [METRICS[metric](scored.labels[rows], scored.probabilities[rows], **settings) for rows in sample.draws]
    )


def _accuracy(sample: Sample) -> Doubles:
    return sample.right.sum(axis=1) / sample.draws.shape[1]


def _per_class(sample: Sample) -> tuple[Doubles, Doubles, Doubles]:
    """Precision, recall and F1 (B, K), 0 where undefined."""
    total = sample.supported + sample.predicted
    return (
        sample.right / np.maximum(sample.predicted, 1),
        sample.right / np.maximum(sample.supported, 1),
        2 * sample.right / np.maximum(total, 1),
    )


def _macro(row: int) -> Worker:
    def mean(sample: Sample) -> Doubles:
        there = (sample.supported + sample.predicted) > 0
        return (_per_class(sample)[row] * there).sum(axis=1) / there.sum(axis=1)

    return mean


def _weighted(row: int) -> Worker:
    return lambda sample: (_per_class(sample)[row] * sample.supported).sum(axis=1) / sample.draws.shape[1]


def _balanced(sample: Sample) -> Doubles:
    return _per_class(sample)[1].sum(axis=1) / (sample.supported > 0).sum(axis=1)


def _kappa(sample: Sample) -> Doubles:
    by_chance = (sample.supported * sample.predicted).sum(axis=1) / sample.draws.shape[1] ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(by_chance < 1, 1 - (1 - _accuracy(sample)) / (1 - by_chance), np.nan)


def _mcc(sample: Sample) -> Doubles:
    rows = sample.draws.shape[1]
    square = float(rows) ** 2
    spread = (square - (sample.supported**2).sum(axis=1)) * (square - (sample.predicted**2).sum(axis=1))
    shared = sample.right.sum(axis=1) * rows - (sample.supported * sample.predicted).sum(axis=1)
    return np.where(spread > 0, shared / np.sqrt(np.maximum(spread, 1)), 0.0)


_COUNTED: dict[str, Worker] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced,
    "macro_precision": _macro(0),
    "macro_recall": _macro(1),
    "macro_f1": _macro(2),
    "weighted_precision": _weighted(0),
    "weighted_recall": _weighted(1),
    "weighted_f1": _weighted(2),
    "cohen_kappa": _kappa,
    "mcc": _mcc,
}


def _gaps(scored: Scored, bins: int, adaptive: bool) -> Worker:
    """The calibration error with the bins of the whole sample: |confidence - right| summed bin by bin is a product."""
    confidences = scored.probabilities.max(axis=1)
    columns = place(confidences, bins=bins, adaptive=adaptive)[1]
    excess = np.zeros((len(confidences), bins), dtype=np.float32)
    excess[np.arange(len(confidences)), columns] = confidences - (scored.predictions == scored.labels)
    return lambda sample: (np.abs(sample.weights @ excess).sum(axis=1) / len(confidences)).astype(np.float64)


def _areas(scored: Scored) -> Worker:
    """The ROC-AUC: per class, the drawn rest below each drawn picture of the class, ties counting half."""
    plans = []
    for k in np.unique(scored.labels):
        own, rest = np.flatnonzero(scored.labels == k), np.flatnonzero(scored.labels != k)
        scores = scored.probabilities[:, k]
        rest = rest[np.argsort(scores[rest], kind="stable")]
        below = [np.searchsorted(scores[rest], scores[own], side) for side in ("left", "right")]
        plans.append((own, rest, *below))

    def areas(sample: Sample) -> Doubles:
        total, defined = np.zeros(len(sample.weights)), np.zeros(len(sample.weights))
        for own, rest, low, high in plans:
            running = np.zeros((len(sample.weights), len(rest) + 1), dtype=np.float32)
            np.cumsum(np.take(sample.weights, rest, axis=1), axis=1, out=running[:, 1:])
            weights = np.take(sample.weights, own, axis=1)
            below = (np.take(running, low, axis=1) + np.take(running, high, axis=1)) / 2
            pairs = weights.sum(axis=1) * running[:, -1].astype(np.float64)
            there = pairs > 0
            total[there] += np.einsum("bn,bn->b", weights, below, dtype=np.float64)[there] / pairs[there]
            defined += there
        with np.errstate(invalid="ignore"):
            return total / np.where(defined > 0, defined, np.nan)

    return areas
