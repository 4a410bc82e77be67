"""Selective prediction: how many mistakes remain if the classifier may leave its least sure answers to a person.

In: an Evaluation. Out: the risk (share of mistakes) at every coverage (share of pictures answered).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shoebox.evaluation.evaluation import Evaluation


@dataclass(frozen=True, eq=False)
class Selective:
    """The coverage-risk curve, from the surest picture to all N; pictures of equal confidence share their risk.

    Attributes:
        coverage: (N,) float64, 1/N … 1.
        risk: (N,) float64, the share of mistakes among the pictures answered.
        confidence: (N,) float64, the least confidence that is still answered.
        aurc: the area under it, which is the mean risk (Geifman et al. 2019, arxiv.org/abs/1805.08206): 0 at best, and
            the share of mistakes where confidence tells nothing.
        best_aurc: what it would be if all mistakes were the least sure.
    """

    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]
    confidence: NDArray[np.float64]
    aurc: float
    best_aurc: float

    def coverage_at(self, risk: float) -> float:
        """The largest share of pictures that can be answered with at most this share of mistakes; 0 if none."""
        held = np.flatnonzero((self.risk <= risk) & self._ends())
        return float(self.coverage[held[-1]]) if len(held) else 0.0

    def threshold_at(self, risk: float) -> float:
        """The confidence from which on to answer for that; above 1 where no picture may be answered."""
        held = np.flatnonzero((self.risk <= risk) & self._ends())
        return float(self.confidence[held[-1]]) if len(held) else float(np.nextafter(1, 2))

    def accuracy_at(self, coverage: float) -> float:
        """The share answered rightly if the surest `coverage` (0…1) of the pictures are answered; nan if none are."""
        count = round(coverage * len(self.coverage))
        return float(1 - self.risk[count - 1]) if count else float("nan")

    def _ends(self) -> NDArray[np.bool_]:
        """Where a group of equal confidence ends: only there can a threshold cut."""
        return np.append(self.confidence[1:] != self.confidence[:-1], True)[: len(self.confidence)]


def selective(evaluation: Evaluation) -> Selective:
    """The coverage-risk curve of the labelled pictures; empty, its areas nan, where there are none."""
    known = evaluation.labelled
    confidences = evaluation.confidences[known]
    wrong = (evaluation.predictions != evaluation.labels)[known].astype(np.float64)
    order = np.argsort(-confidences, kind="stable")
    confidences, wrong = confidences[order], wrong[order]
    counts = np.arange(1, len(wrong) + 1)
    # In a group of equals any order could be the true one: each member gets the group's mean.
    _, group, sizes = np.unique(-confidences, return_inverse=True, return_counts=True)
    even = (np.bincount(group, weights=wrong) / sizes)[group] if len(wrong) else wrong
    risk = np.cumsum(even) / counts
    best = np.cumsum(np.sort(wrong)) / counts
    nothing = float("nan")
    return Selective(
        coverage=counts / max(len(wrong), 1),
        risk=risk,
        confidence=confidences,
        aurc=float(risk.mean()) if len(risk) else nothing,
        best_aurc=float(best.mean()) if len(best) else nothing,
    )
