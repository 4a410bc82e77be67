"""A probe: what a linear classifier makes of features, asked about pictures it did not learn from.

In: features (N, D), labels, folds. Out: probabilities (N, K), those of each fold from the other folds. The probe is a
ridge regression onto the classes (Hoerl and Kennard 1970), solved in closed form: the sums over all pictures are made
once, and each fold's own taken off them, so that a probe of 50,000 pictures takes seconds. Strength and temperature are
those of the least log loss out of fold.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Of the regularisation, in units of the mean square of the features."""
TEMPERATURES = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 16.0, 24.0)
"""What the regression's scores are multiplied by before they become probabilities."""


def out_of_fold(
    features: NDArray[np.float32], labels: NDArray[np.int64], classes: int, folds: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Probabilities of each picture from a probe that was fitted on the other folds.

    Args:
        features: (N, D), a few hundred, of like size: best their main directions (`neighbours.directions`).
        labels: (N,) from 0 to classes - 1.
        folds: (N,) any numbers, at least two.

    Returns:
        (N, K) float64, rows of sum 1.
    """
    inputs, targets = _inputs(features), _targets(labels, classes)
    numbers = np.unique(folds).tolist()
    chosen = [torch.from_numpy(np.flatnonzero(folds == number)) for number in numbers]
    sums = [(inputs[rows].T @ inputs[rows], inputs[rows].T @ targets[rows]) for rows in chosen]
    square, product = sum(s for s, _ in sums), sum(p for _, p in sums)
    best, least = np.full((len(labels), classes), 1 / classes), np.inf
    for strength in STRENGTHS:
        scores = torch.empty(len(labels), classes)
        for rows, (own_square, own_product) in zip(chosen, sums, strict=True):
            scores[rows] = inputs[rows] @ _solved(square - own_square, product - own_product, strength)
        for temperature in TEMPERATURES:
            logs = (scores.double() * temperature).log_softmax(1)
            loss = float(-logs[torch.arange(len(labels)), torch.from_numpy(labels)].mean())
            if loss < least:
                best, least = logs.exp().numpy(), loss
    return best


def predicted(
    features: NDArray[np.float32], labels: NDArray[np.int64], asked: NDArray[np.float32], classes: int
) -> NDArray[np.int64]:
    """Labels (M,) of features asked about (M, D), by a probe fitted on others (N, D)."""
    learnt = _inputs(features)
    weights = _solved(learnt.T @ learnt, learnt.T @ _targets(labels, classes), STRENGTHS[-2])
    answers: NDArray[np.int64] = (_inputs(asked) @ weights).argmax(1).numpy()
    return answers


def _inputs(features: NDArray[np.float32]) -> Tensor:
    """(N, D + 1): the features, and 1."""
    return torch.cat([torch.from_numpy(features), torch.ones(len(features), 1)], 1)


def _targets(labels: NDArray[np.int64], classes: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.from_numpy(labels), classes).float()


def _solved(square: Tensor, product: Tensor, strength: float) -> Tensor:
    """(D, K) weights from the sums over the pictures learnt from."""
    ridge = strength * float(square.diagonal().mean()) + 1e-6
    return torch.linalg.solve(square + ridge * torch.eye(len(square)), product)
