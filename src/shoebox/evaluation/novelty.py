"""Pictures of none of the classes: a score that is high for what the classifier has never seen the like of.

In: an Evaluation of the validation part. Out: a `Novelty` that scores any Evaluation of the same classifier, with the
threshold above which a picture is called foreign; and the ROC of known against foreign pictures.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import UsageError
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.metrics import METRICS

NEIGHBOURS = 10
METHODS = ("both", "energy", "knn")
CHUNK_CELLS = 4_000_000  # distances at a time
BANK = 2_000
"""Validation pictures that others are measured against: a server reads all of them for every batch."""


@dataclass(frozen=True, eq=False)
class Novelty:
    """Scores how foreign pictures are.

    Attributes:
        method: "energy": minus the log of the sum of the exponentials of the logits (Liu et al. 2020,
            arxiv.org/abs/2010.03759). "knn": the distance, 0…2, from the features to the k-th nearest of the validation
            pictures, all of length 1 (Sun et al. 2022, arxiv.org/abs/2204.06507). "both": their sum, each measured in
            its standard deviations from its mean on validation; the two err on different pictures.
        threshold: a picture whose score is above it is called foreign.
        false_alarms: the share of validation pictures above the threshold, chosen beforehand.
        bank: (M, D) float32, the features of up to `BANK` validation pictures, each of length 1; none for "energy".
        neighbours: k.
        moments: for each score used, its mean and standard deviation on validation.
    """

    method: str
    threshold: float
    false_alarms: float
    bank: NDArray[np.float32]
    neighbours: int
    moments: tuple[tuple[float, float], ...]

    def scores(self, evaluation: Evaluation) -> NDArray[np.float64]:
        """(N,) float64, higher for what is more foreign.

        Raises:
            UsageError: "knn" and "both" need features, and the evaluation kept none.
        """
        found = []
        if self.method != "knn":
            found.append(_energy(evaluation))
        if self.method != "energy":
            found.append(_distances(_unit(evaluation), self.bank, self.neighbours))
        return _joined(found, self.moments)

    def foreign(self, evaluation: Evaluation) -> NDArray[np.bool_]:
        """(N,) whether each picture is called foreign."""
        return self.scores(evaluation) > self.threshold


@dataclass(frozen=True, eq=False)
class Roc:
    """How foreign pictures are told from known ones as the threshold falls.

    Attributes:
        false_alarms, found: (T,) float64, the share of known and of foreign pictures above the threshold.
        auroc: the probability that a foreign picture scores higher than a known one, ties counting half.
    """

    false_alarms: NDArray[np.float64]
    found: NDArray[np.float64]
    auroc: float


def fit_novelty(
    validation: Evaluation, method: str = "both", *, false_alarms: float = 0.05, neighbours: int = NEIGHBOURS
) -> Novelty:
    """Choose the threshold on the validation part.

    Args:
        validation: of pictures of the known classes; with features for "knn" and "both", where each is scored
            against all the others.
        false_alarms: the share of known pictures that may be called foreign, 0…1.

    Raises:
        UsageError: there is no such method, there are no pictures, or no features where they are needed.
    """
    if method not in METHODS:
        raise UsageError(f"no novelty score is called {method!r}: choose from {', '.join(METHODS)}")
    if len(validation) < 2:
        raise UsageError("the validation part has too few pictures to choose a threshold on: expected 2 or more")
    bank, own = np.zeros((0, 0), np.float32), []
    if method != "knn":
        own.append(_energy(validation))
    if method != "energy":
        features = _unit(validation)
        kept = np.sort(np.random.default_rng(0).permutation(len(features))[:BANK])
        bank = features[kept]
        neighbours = min(neighbours, len(bank) - 1)
        distances = _distances(features, bank, neighbours)
        distances[kept] = _distances(bank, bank, neighbours + 1)  # each is its own nearest
        own.append(distances)
    moments = tuple((float(scores.mean()), float(scores.std()) or 1.0) for scores in own)
    threshold = float(np.quantile(_joined(own, moments), 1 - false_alarms))
    return Novelty(method, threshold, false_alarms, bank, neighbours, moments)


def roc(known: NDArray[np.float64], foreign: NDArray[np.float64]) -> Roc:
    """The ROC of scores of known pictures (N,) against those of foreign ones (M,).

    Raises:
        ValueError: one of them is empty.
    """
    if not len(known) or not len(foreign):
        raise ValueError(f"a ROC needs both: there are {len(known)} known and {len(foreign)} foreign pictures")
    cuts = np.concatenate([[np.inf], np.unique(np.concatenate([known, foreign]))[::-1]])
    above = [1 - np.searchsorted(np.sort(scores), cuts, "left") / len(scores) for scores in (known, foreign)]
    scores = np.concatenate([known, foreign])
    labels = np.repeat([0, 1], [len(known), len(foreign)])
    return Roc(above[0], above[1], METRICS["roc_auc"](labels, np.stack([-scores, scores], axis=1)))


@dataclass(frozen=True, eq=False)
class Apart:
    """How well foreign pictures are told from known ones.

    Attributes:
        known, foreign: (N,) and (M,) float64, the scores.
        threshold: above which a picture is called foreign.
        auroc: as in `Roc`.
    """

    known: NDArray[np.float64]
    foreign: NDArray[np.float64]
    threshold: float
    auroc: float

    @property
    def found(self) -> float:
        """The share of foreign pictures that is called so."""
        return float(np.mean(self.foreign > self.threshold))

    @property
    def false_alarms(self) -> float:
        """The share of known pictures that is called foreign."""
        return float(np.mean(self.known > self.threshold))


def tell_apart(novelty: Novelty, known: Evaluation, foreign: Evaluation) -> Apart:
    """Score both.

    Raises:
        ValueError: one of them is empty.
    """
    scores = novelty.scores(known), novelty.scores(foreign)
    return Apart(*scores, novelty.threshold, roc(*scores).auroc)


def _joined(scores: list[NDArray[np.float64]], moments: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """One score as it is; the sum of several, each standardised."""
    if len(scores) == 1:
        return scores[0]
    standard = [(one - mean) / deviation for one, (mean, deviation) in zip(scores, moments, strict=True)]
    return np.asarray(np.sum(standard, axis=0))


def _energy(evaluation: Evaluation) -> NDArray[np.float64]:
    logits = evaluation.logits.astype(np.float64)
    peak = logits.max(axis=1)
    total: NDArray[np.float64] = np.log(np.exp(logits - peak[:, None]).sum(axis=1)) + peak
    return -total


def _unit(evaluation: Evaluation) -> NDArray[np.float32]:
    """The features, each of length 1."""
    if evaluation.features is None:
        raise UsageError("the evaluation kept no features: evaluate again to have them, or choose the energy score")
    features = evaluation.features.astype(np.float32)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(lengths, np.finfo(np.float32).tiny)


def _distances(features: NDArray[np.float32], bank: NDArray[np.float32], k: int) -> NDArray[np.float64]:
    """From each row to the k-th nearest of the bank; both of length 1, so the dot product decides."""
    step = max(1, CHUNK_CELLS // len(bank))
    found = np.empty(len(features))
    for start in range(0, len(features), step):
        likeness = features[start : start + step] @ bank.T
        kth = np.partition(likeness, len(bank) - k, axis=1)[:, len(bank) - k]
        found[start : start + step] = np.sqrt(np.maximum(0, 2 - 2 * kth.astype(np.float64)))
    return found
