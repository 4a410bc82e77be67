"""Figures of merit from labels and logits: the numbers of every epoch and of every evaluation.

In: labels and what the network said. Out: plain floats. Everything here is numpy and takes milliseconds, because it
runs after every epoch; the tests hold each figure to scikit-learn's, to 1e-12.

A metric is a function `(labels, probabilities) -> float` in `METRICS`: labels (N,) integers in 0…K-1 (rows without a
label left out), probabilities (N, K) finite floats whose rows sum to 1, N ≥ 1. `measure` takes care of unlabelled rows,
of no rows at all and of a network that has diverged. The predicted class is the one of highest probability, the first
of equals.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from shoebox.base.registry import Registry
from shoebox.evaluation.reliability import BINS, reliability

Floats = NDArray[np.floating]
Labels = NDArray[np.integer]
Metric = Callable[[Labels, Floats], float]

METRICS: Registry[Metric] = Registry("metric")

# The six of every epoch: the columns of a run's history and the panels of the figure `six_metrics`.
SIX = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "roc_auc", "log_loss")

# What an evaluation is summed up by, the most telling first.
HEADLINE = (
    "accuracy",
    "balanced_accuracy",
    "top_k",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "weighted_precision",
    "weighted_recall",
    "weighted_f1",
    "roc_auc",
    "log_loss",
    "brier",
    "ece",
    "adaptive_ece",
    "cohen_kappa",
    "mcc",
)
LOWER_IS_BETTER = frozenset({"loss", "log_loss", "brier", "ece", "adaptive_ece"})


def measure(labels: Labels, logits: Floats, names: Sequence[str] = SIX) -> dict[str, float]:
    """The loss and the named metrics of one part.

    Args:
        labels: (N,) integers, -1 where the class is not known; those rows are left out.
        logits: (N, K) floats of any precision; all figures are computed in float64.
        names: metrics of `METRICS`, with options where wanted: "top_k(k=3)".

    Returns:
        "loss" (mean cross-entropy in nats, unbounded, no label smoothing), then one entry a name, in that order. All of
        them are nan when no row has a label, or when a logit is nan or +inf: a diverged network has no accuracy.
    """
    known = labels >= 0
    if not known.all():
        labels, logits = labels[known], logits[known]
    if len(labels):
        probabilities, log_total = _normalise(logits)
        if np.isfinite(probabilities).all():
            loss = float(np.mean(log_total - logits[np.arange(len(labels)), labels]))
            return {"loss": loss, **{name: float(METRICS.build(name, labels, probabilities)) for name in names}}
    return dict.fromkeys(("loss", *names), float("nan"))


def softmax(logits: Floats) -> NDArray[np.float64]:
    """(N, K) logits to (N, K) float64 probabilities; a row holding nan or +inf becomes nan."""
    return _normalise(logits)[0]


def _normalise(logits: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The softmax (N, K), and the logarithm of each row's sum of exponentials (N,)."""
    peak = logits.max(axis=1, keepdims=True).astype(np.float64)
    with np.errstate(invalid="ignore"):  # inf - inf: the nan is the answer
        probabilities = np.subtract(logits, peak, dtype=np.float64)
        np.exp(probabilities, out=probabilities)
        total = probabilities.sum(axis=1, keepdims=True)
        probabilities /= total
        log_total = np.log(total) + peak
    return probabilities, log_total[:, 0]


def per_class(labels: Labels, predictions: Labels, classes: int) -> NDArray[np.float64]:
    """Precision, recall and F1 of each class, as scikit-learn's with `zero_division=0`.

    Args:
        labels: (N,) integers in 0…classes-1.
        predictions: (N,) integers in 0…classes-1.

    Returns:
        (3, classes) float64. A class that occurs neither in the labels nor in the predictions has nothing to measure
        and is nan; a class that is never predicted has precision 0, one that is never right F1 0.
    """
    supported = np.bincount(labels, minlength=classes)
    predicted = np.bincount(predictions, minlength=classes)
    right = np.bincount(labels[labels == predictions], minlength=classes)
    scores = np.stack(
        [
            right / np.maximum(predicted, 1),
            right / np.maximum(supported, 1),
            2 * right / np.maximum(supported + predicted, 1),
        ]
    )
    scores[:, supported + predicted == 0] = np.nan
    return scores


def _macro(labels: Labels, probabilities: Floats, row: int) -> float:
    """The mean over the classes that occur in the labels or in the predictions, as scikit-learn does by default.

    So a class of which this part happens to hold no picture does not drag the mean down, but a picture wrongly put
    into such a class does: it then counts with precision 0.
    """
    scores = per_class(labels, probabilities.argmax(axis=1), probabilities.shape[1])
    return float(np.nanmean(scores[row]))


@METRICS.register
def accuracy(labels: Labels, probabilities: Floats) -> float:
    """The share of rows whose predicted class is the label."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


@METRICS.register
def macro_precision(labels: Labels, probabilities: Floats) -> float:
    """Precision averaged over the classes that occur in labels or predictions, each class counting the same."""
    return _macro(labels, probabilities, 0)


@METRICS.register
def macro_recall(labels: Labels, probabilities: Floats) -> float:
    """Recall averaged over the classes that occur in labels or predictions, each class counting the same."""
    return _macro(labels, probabilities, 1)


@METRICS.register
def macro_f1(labels: Labels, probabilities: Floats) -> float:
    """F1 averaged over the classes that occur in labels or predictions, each class counting the same."""
    return _macro(labels, probabilities, 2)


@METRICS.register
def roc_auc(labels: Labels, probabilities: Floats) -> float:
    """Area under the ROC curve, each class against the rest, averaged over the classes that have pictures and a rest.

    The area is the probability that a picture of the class is given a higher probability of it than one of the rest,
    ties counting half (Hanley and McNeil 1982, doi.org/10.1148/radiology.143.1.7063747). nan if no class has both.
    """
    areas = []
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    for k in np.flatnonzero((counts > 0) & (counts < len(labels))):
        scores = np.ascontiguousarray(probabilities[:, k])
        positive = labels == k
        rest = np.sort(scores[~positive])
        own = np.sort(scores[positive])  # sorted queries walk through `rest` in order: several times faster
        below_twice = np.searchsorted(rest, own, "left").sum() + np.searchsorted(rest, own, "right").sum()
        areas.append(below_twice / (2 * len(own) * len(rest)))
    return float(np.mean(areas)) if areas else float("nan")


@METRICS.register
def log_loss(labels: Labels, probabilities: Floats) -> float:
    """Mean of -log(probability of the label) in nats, the probability held within [eps, 1 - eps] of its dtype.

    As scikit-learn's. Where "loss" grows without bound on one confident mistake, this stops at 36.04 for float64.
    """
    return float(np.mean(_log_loss_terms(labels, probabilities)))


def _log_loss_terms(labels: Labels, probabilities: Floats) -> Floats:
    eps = np.finfo(probabilities.dtype).eps
    own = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.clip(own, eps, 1 - eps))


@METRICS.register
def balanced_accuracy(labels: Labels, probabilities: Floats) -> float:
    """Recall averaged over the classes that have pictures, each class counting the same."""
    scores = per_class(labels, probabilities.argmax(axis=1), probabilities.shape[1])
    return float(np.mean(scores[1, np.unique(labels)]))


@METRICS.register
def top_k(labels: Labels, probabilities: Floats, *, k: int = 5) -> float:
    """The share of rows whose label is among the k classes of highest probability; 1 where there are no more than k.

    Of equal probabilities the later class ranks first, as scikit-learn has it.
    """
    return float(np.mean(_top_k_terms(labels, probabilities, k=k)))


def _top_k_terms(labels: Labels, probabilities: Floats, *, k: int) -> Floats:
    own = probabilities[np.arange(len(labels)), labels][:, None]
    later = np.arange(probabilities.shape[1]) > np.asarray(labels)[:, None]
    before = (probabilities > own) | ((probabilities == own) & later)
    return (before.sum(axis=1) < k).astype(np.float64)


def _weighted(labels: Labels, probabilities: Floats, row: int) -> float:
    """The mean over the classes, each counting as often as it has pictures."""
    scores = per_class(labels, probabilities.argmax(axis=1), probabilities.shape[1])
    support = np.bincount(labels, minlength=probabilities.shape[1])
    return float(np.average(np.nan_to_num(scores[row]), weights=support))


@METRICS.register
def weighted_precision(labels: Labels, probabilities: Floats) -> float:
    """Precision averaged over the classes, each counting as often as it has pictures."""
    return _weighted(labels, probabilities, 0)


@METRICS.register
def weighted_recall(labels: Labels, probabilities: Floats) -> float:
    """Recall averaged over the classes, each counting as often as it has pictures: the accuracy."""
    return _weighted(labels, probabilities, 1)


@METRICS.register
def weighted_f1(labels: Labels, probabilities: Floats) -> float:
    """F1 averaged over the classes, each counting as often as it has pictures."""
    return _weighted(labels, probabilities, 2)


@METRICS.register
def brier(labels: Labels, probabilities: Floats) -> float:
    """Mean squared distance between the probabilities and the truth (Brier 1950): 0…2, and for two classes 0…1.

    With two classes only the probability of the second counts, as Brier's score is used there and as scikit-learn has
    it by default.
    """
    return float(np.mean(_brier_terms(labels, probabilities)))


def _brier_terms(labels: Labels, probabilities: Floats) -> Floats:
    distance = np.array(probabilities, dtype=np.float64)
    distance[np.arange(len(labels)), labels] -= 1
    return np.einsum("nk,nk->n", distance, distance) / (2 if distance.shape[1] == 2 else 1)


TERMS: dict[str, Callable[..., Floats]] = {"log_loss": _log_loss_terms, "top_k": _top_k_terms, "brier": _brier_terms}
"""For metrics that are a mean over the rows: what each row (N,) adds. Arguments as the metric's."""


@METRICS.register
def ece(labels: Labels, probabilities: Floats, *, bins: int = BINS) -> float:
    """Expected calibration error: how far confidence and accuracy lie apart, in bins of equal width.

    Naeini et al. 2015 (doi.org/10.1609/aaai.v29i1.9602), with the 15 bins of Guo et al. 2017 (arxiv:1706.04599).
    """
    right = probabilities.argmax(axis=1) == labels
    return reliability(probabilities.max(axis=1), right, bins=bins).error


@METRICS.register
def adaptive_ece(labels: Labels, probabilities: Floats, *, bins: int = BINS) -> float:
    """The calibration error in bins of equally many pictures, which a crowd of sure predictions cannot hide."""
    right = probabilities.argmax(axis=1) == labels
    return reliability(probabilities.max(axis=1), right, bins=bins, adaptive=True).error


@METRICS.register
def cohen_kappa(labels: Labels, probabilities: Floats) -> float:
    """Agreement beyond chance (Cohen 1960): 1 perfect, 0 as by chance; nan where one class is all there is."""
    right, supported, predicted = _totals(labels, probabilities)
    by_chance = supported @ predicted / len(labels) ** 2
    return float(1 - (1 - right / len(labels)) / (1 - by_chance)) if by_chance < 1 else float("nan")


@METRICS.register
def mcc(labels: Labels, probabilities: Floats) -> float:
    """Matthews's correlation of labels and predictions, for many classes (Gorodkin 2004): -1…1.

    0 where only one class is there or predicted.
    """
    right, supported, predicted = _totals(labels, probabilities)
    square = float(len(labels)) ** 2
    spread = (square - supported @ supported) * (square - predicted @ predicted)
    return float((right * len(labels) - supported @ predicted) / np.sqrt(spread)) if spread else 0.0


def _totals(labels: Labels, probabilities: Floats) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """How many rows are right, how many (K,) each class has, and how many (K,) are predicted as it."""
    predictions, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    supported = np.bincount(labels, minlength=classes).astype(np.float64)
    predicted = np.bincount(predictions, minlength=classes).astype(np.float64)
    return float(np.sum(predictions == labels)), supported, predicted
