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

Floats = NDArray[np.floating]
Labels = NDArray[np.integer]
Metric = Callable[[Labels, Floats], float]

METRICS: Registry[Metric] = Registry("metric")

# The six of every epoch: the columns of a run's history and the panels of the figure `six_metrics`.
SIX = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "roc_auc", "log_loss")


def measure(labels: Labels, logits: Floats, names: Sequence[str] = SIX) -> dict[str, float]:
    """The loss and the named metrics of one part.

    Args:
        labels: (N,) integers, -1 where the class is not known; those rows are left out.
        logits: (N, K) floats of any precision; all figures are computed in float64.
        names: metrics of `METRICS`, without options.

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
            return {"loss": loss, **{name: float(METRICS[name](labels, probabilities)) for name in names}}
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
    eps = np.finfo(probabilities.dtype).eps
    own = probabilities[np.arange(len(labels)), labels]
    return float(-np.mean(np.log(np.clip(own, eps, 1 - eps))))
