"""Calibration: one temperature that makes a confidence of 80 % right 80 times in 100.

In: labels and logits of the validation part, never of the test part. Out: the temperature, and how far confidence and
accuracy lie apart before and after it. The order of the classes in a prediction stays as it was.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.metrics import measure, softmax

LOWEST, HIGHEST = 0.01, 100.0
"""Within these a temperature is sought; one at the end says that the logits tell nothing."""


def fit_temperature(labels: NDArray[np.integer], logits: NDArray[np.floating]) -> float:
    """The temperature by which to divide logits so that their softmax fits the labels best (least log loss).

    Guo et al. 2017 (arxiv.org/abs/1706.04599). Targets are Platt's (1999): with N pictures, a share 1/(N + 2) of each
    lies with the other classes. Otherwise a validation part without a mistake would ask for boundless confidence.

    Args:
        labels: (N,) integers, -1 where the class is not known; those rows are left out.
        logits: (N, K) floats, before any temperature.

    Returns:
        the temperature, within `LOWEST` … `HIGHEST`; 1 where there is nothing to fit (no labelled row, one class, or
        logits that are not finite).
    """
    known = labels >= 0
    labels, scores = labels[known], logits[known].astype(np.float64)
    if not len(labels) or scores.shape[1] < 2 or not np.isfinite(scores).all():
        return 1.0
    others = 1 / (len(labels) + 2)
    own = scores[np.arange(len(labels)), labels]
    rest = (scores.sum(axis=1) - own) / (scores.shape[1] - 1)
    wanted = float(np.mean((1 - others) * own + others * rest))

    def slope(sharpness: float) -> float:
        """The derivative of the mean log loss by 1 / temperature, in which the log loss is convex."""
        return float(np.mean(np.einsum("nk,nk->n", softmax(scores * sharpness), scores))) - wanted

    low, high = 1 / HIGHEST, 1 / LOWEST
    if slope(low) >= 0:
        return 1.0 if np.ptp(scores, axis=1).max() == 0 else HIGHEST
    if slope(high) <= 0:
        return LOWEST
    while high / low > 1 + 1e-9:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(1 / np.sqrt(low * high))


def with_temperature(evaluation: Evaluation, temperature: float) -> Evaluation:
    """The same evaluation with its logits divided by a temperature."""
    return replace(evaluation, logits=(evaluation.logits / temperature).astype(np.float32))


def calibration_error(evaluation: Evaluation) -> dict[str, float]:
    """ECE and adaptive ECE, 0…1, and the log loss in nats, of the labelled pictures."""
    figures = measure(evaluation.labels, evaluation.logits, ("ece", "adaptive_ece", "log_loss"))
    return {name: figures[name] for name in ("ece", "adaptive_ece", "log_loss")}


def before_and_after(calibrated: Evaluation, temperature: float) -> dict[str, dict[str, float]]:
    """What a temperature did: "before" and "after", each as from `calibration_error`."""
    return {
        "before": calibration_error(with_temperature(calibrated, 1 / temperature)),
        "after": calibration_error(calibrated),
    }
