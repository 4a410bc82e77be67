"""The head on frozen features: multinomial logistic regression, its strength chosen by cross-validation.

In: features (N, D) and labels of the training part, and of nothing else. Out: a linear layer for raw features, the
standardisation folded into it; how strongly it was regularised and why; and a nearest-neighbour vote beside it.

The objective is the mean cross-entropy plus strength/2 · |W|² over standardised features, minimised by L-BFGS (Liu and
Nocedal, 1989), each strength from the solution of the one before. Where there are fewer pictures than features, the
problem is first rotated into the pictures' span, which leaves its solution as it is and makes it smaller.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""From strong to weak. Seen to matter on 1,280 features of MobileNetV2: 245 pictures want 0.3, 45,000 want 0.003."""

ONE_THREAD = 4_000_000
"""Numbers in a table of features up to which one thread is as fast as several, and on a busy machine many times faster:
fitting is hundreds of short sums, after each of which threads wait for each other."""

STEPS, WARM_STEPS = 200, 50
"""Of L-BFGS at the chosen strength, from afar and from a solution on some of the pictures."""

FOLDS = 5
MOST = 8_000
"""Pictures that the choice of a strength looks at; beyond, one strength of the row is as good as its neighbour."""

NEIGHBOURS = 10
NEIGHBOURS_MOST = 8_000


@dataclass(frozen=True)
class Head:
    """A fitted head.

    Attributes:
        weight: (K, D) float32, for features as they come from the trunk.
        bias: (K,) float32.
        strength: of the regularisation.
        held_out: accuracy of that strength on held-out folds of the training part.
    """

    weight: Tensor
    bias: Tensor
    strength: float
    held_out: float

    def logits(self, features: Tensor) -> Tensor:
        """(n, K) of features (n, D)."""
        return F.linear(features, self.weight, self.bias)

    def put_into(self, layer: nn.Module) -> None:
        """Make a linear layer this head, in place."""
        assert isinstance(layer, nn.Linear)
        with torch.no_grad():
            layer.weight.copy_(self.weight)
            layer.bias.copy_(self.bias)


def fit_head(
    features: Tensor,
    labels: NDArray[np.int64],
    classes: int,
    *,
    seed: int = 0,
    weights: NDArray[np.float64] | None = None,
) -> Head:
    """Fit the head on the training part.

    Args:
        features: (N, D) float32.
        labels: (N,) in 0..classes-1.
        classes: K; a class without pictures gets a small probability.
        seed: of the folds.
        weights: (N,) of each picture in the loss; by default even.
    """
    with _few_threads(features):
        return _fit_head(features, labels, classes, seed, weights)


def _fit_head(
    features: Tensor, labels: NDArray[np.int64], classes: int, seed: int, weights: NDArray[np.float64] | None
) -> Head:
    y, w = torch.from_numpy(labels), _even(len(labels)) if weights is None else torch.from_numpy(weights).float()
    mean, deviation = features.mean(0), features.std(0, unbiased=False).clamp_min(1e-6)
    standard = (features - mean) / deviation
    strength, held_out, start = choose_strength(standard, y, w, classes, seed)
    path = (strength,) if start else STRENGTHS[: STRENGTHS.index(strength) + 1]
    weight, bias = _path(standard, y, w, classes, path, start=start, most=WARM_STEPS if start else STEPS)[-1]
    weight = weight / deviation
    return Head(weight, bias - weight @ mean, strength, held_out)


def choose_strength(
    features: Tensor, labels: Tensor, weights: Tensor, classes: int, seed: int
) -> tuple[float, float, tuple[Tensor, Tensor] | None]:
    """The strength whose held-out log loss is least, over stratified folds.

    Returns:
        strength, held-out accuracy, and where only some of the pictures were looked at, the solution on most of those:
        a start from which all of them need few steps.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(labels))[:MOST])
    x, y, w = features[rows], labels[rows], weights[rows]
    x = _rotated(x)
    fold = folds(y.numpy(), FOLDS, rng)
    # Large sets are steady enough for one fold to tell.
    tried = range(FOLDS if len(rows) <= 2_000 else 1)
    loss, right, count = np.zeros(len(STRENGTHS)), np.zeros(len(STRENGTHS)), 0
    solutions: list[tuple[Tensor, Tensor]] = []
    for k in tried:
        out = torch.from_numpy(fold == k)
        if not out.any() or out.all():
            continue
        solutions = _path(x[~out], y[~out], w[~out], classes, STRENGTHS)
        for i, (weight, bias) in enumerate(solutions):
            logits = F.linear(x[out], weight, bias)
            loss[i] += float((F.cross_entropy(logits, y[out], reduction="none") * w[out]).sum())
            right[i] += float((logits.argmax(1) == y[out]).sum())
        count += int(out.sum())
    if not count:
        return 1.0, float("nan"), None
    best = int(loss.argmin())
    return STRENGTHS[best], right[best] / count, solutions[best] if len(rows) < len(labels) else None


def repeated_score(
    features: Tensor, labels: NDArray[np.int64], classes: int, strength: float, *, repeats: int = 5, seed: int = 0
) -> tuple[float, float]:
    """Accuracy by repeated stratified cross-validation: its mean, and its standard deviation from fold to fold.

    For sets too small for one split to say much. Standardisation is part of what is fitted anew in each fold.
    """
    y = torch.from_numpy(labels)
    accuracies = []
    with _few_threads(features):
        for repeat in range(repeats):
            fold = folds(labels, FOLDS, np.random.default_rng([seed, repeat]))
            for k in np.unique(fold).tolist():
                out = torch.from_numpy(fold == k)
                mean, deviation = features[~out].mean(0), features[~out].std(0, unbiased=False).clamp_min(1e-6)
                x = _rotated((features - mean) / deviation)
                weight, bias = _path(x[~out], y[~out], _even(int((~out).sum())), classes, (strength,))[0]
                accuracies.append(float((F.linear(x[out], weight, bias).argmax(1) == y[out]).float().mean()))
    return float(np.mean(accuracies)), float(np.std(accuracies, ddof=1))


def folds(labels: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(N,) the fold of each picture; every class is spread over the folds as evenly as it goes."""
    fold = np.empty(len(labels), np.int64)
    start = 0
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        fold[rows] = (start + np.arange(len(rows))) % count
        start += len(rows)
    return fold


def neighbours_vote(
    features: Tensor, labels: NDArray[np.int64], asked: Tensor, classes: int, *, seed: int = 0
) -> NDArray[np.int64]:
    """What the 10 nearest training pictures (cosine, weighted by similarity) say of each asked picture: (n,) labels."""
    rows = np.random.default_rng(seed).permutation(len(labels))[:NEIGHBOURS_MOST]
    known, y = F.normalize(features[rows]), torch.from_numpy(labels[rows])
    near, place = (F.normalize(asked) @ known.T).topk(min(NEIGHBOURS, len(rows)))
    votes = torch.zeros(len(asked), classes).scatter_add_(1, y[place], near.clamp_min(0))
    answer: NDArray[np.int64] = votes.argmax(1).numpy()
    return answer


def _path(
    x: Tensor,
    y: Tensor,
    w: Tensor,
    classes: int,
    strengths: tuple[float, ...],
    *,
    start: tuple[Tensor, Tensor] | None = None,
    most: int = 0,
) -> list[tuple[Tensor, Tensor]]:
    """(weight (K, D), bias (K,)) at each strength, the later ones started from the earlier, the first from `start`."""
    weight, bias = start or (torch.zeros(classes, x.shape[1]), torch.zeros(classes))
    weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    total = w.sum()
    solutions = []
    for strength in strengths:
        last = strength == strengths[-1]
        optimizer = torch.optim.LBFGS(
            [weight, bias],
            max_iter=most if most and last else 40,
            tolerance_grad=1e-5,
            tolerance_change=1e-6,
            line_search_fn="strong_wolfe",
        )

        def closure(strength: float = strength, optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
            optimizer.zero_grad()
            losses = F.cross_entropy(F.linear(x, weight, bias), y, reduction="none")
            objective = (losses * w).sum() / total + strength / 2 * weight.square().sum()
            objective.backward()
            return objective

        optimizer.step(closure)
        solutions.append((weight.detach().clone(), bias.detach().clone()))
    return solutions


def _rotated(x: Tensor) -> Tensor:
    """The same points in the coordinates of their span, where that is smaller: all their inner products stay."""
    if len(x) >= x.shape[1]:
        return x
    wide = x.double()
    values, vectors = torch.linalg.eigh(wide @ wide.T)
    rotated: Tensor = (vectors * values.clamp_min(0).sqrt()).float()
    return rotated


@contextlib.contextmanager
def _few_threads(features: Tensor) -> Iterator[None]:
    before = torch.get_num_threads()
    if features.numel() <= ONE_THREAD:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _even(count: int) -> Tensor:
    return torch.ones(count)
