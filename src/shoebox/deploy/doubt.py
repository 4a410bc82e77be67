"""What an answer is worth: whether it is sure enough, of no class at all, and which classes it might as well be.

In: the validation part, which a run keeps and an export carries without the names of its files. Out: a `Doubt`, which
judges what a backend says of any pictures. Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoebox.deploy.backends import is_exported
from shoebox.deploy.pile import foreign
from shoebox.evaluation.conformal import Conformal, calibrate
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.novelty import Novelty, fit_novelty
from shoebox.evaluation.promise import Promise, promise

CARRIED = "validation.npz"
"""What an exported folder keeps of the validation part: labels, logits and features."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What is to be thought of the answers for N pictures.

    Attributes:
        sets: (N, K) bool, the classes that each picture may well be.
        unsure: (N,) bool, whether the best answer is less sure than the promise asks for.
        unknown: (N,) bool, whether the picture is of no class; all False where that is not looked for.
    """

    sets: NDArray[np.bool_]
    unsure: NDArray[np.bool_]
    unknown: NDArray[np.bool_]

    def each(self) -> list[Judged]:
        """The same, one picture at a time."""
        rows = range(len(self.sets))
        return [Judged(self.sets[i : i + 1], self.unsure[i : i + 1], self.unknown[i : i + 1]) for i in rows]


@dataclass(frozen=True, eq=False)
class Doubt:
    """Thresholds chosen on the validation part.

    Attributes:
        promise: of mistakes among the sure answers.
        conformal: makes the sets.
        novelty: tells pictures of no class, or None not to look for them.
    """

    promise: Promise
    conformal: Conformal
    novelty: Novelty | None

    @classmethod
    def learn(cls, validation: Evaluation, error: float, unknown: float) -> Doubt:
        """Choose the thresholds.

        Args:
            error: the share of mistakes promised not to be exceeded, and of sets that may lack the right class.
            unknown: the share of pictures of the classes that may be taken for foreign; 0 not to look for foreign ones.

        Raises:
            UsageError: a share is out of its range.
        """
        method = "energy" if validation.features is None else "knn"
        novelty = fit_novelty(validation, method, false_alarms=unknown) if unknown and len(validation) > 1 else None
        return cls(promise(validation, error), calibrate(validation, error), novelty)

    def judge(self, probabilities: NDArray[np.float32], features: NDArray[np.float32]) -> Judged:
        """Judge answers: probabilities (N, K), and the features (N, D) that the network's head saw."""
        none = np.zeros(len(probabilities), bool)
        return Judged(
            self.conformal.sets(probabilities.astype(np.float64)),
            probabilities.max(axis=1) < self.promise.threshold,
            none if self.novelty is None else foreign(self.novelty, probabilities, features),
        )


def read_doubt(folder: Path, error: float, unknown: float) -> Doubt | None:
    """The `Doubt` of a run's folder or an exported one; None where it keeps no validation part.

    Raises:
        ShoeboxError: what it keeps is damaged.
        UsageError: a share is out of its range.
    """
    kept = folder / (CARRIED if is_exported(folder) else "val.npz")
    return Doubt.learn(Evaluation.load(kept), error, unknown) if kept.is_file() else None


def carry(validation: Evaluation, folder: Path) -> str:
    """Write what an export keeps of the validation part, with numbers for names. Returns the file's name."""
    replace(validation, paths=tuple(map(str, range(len(validation))))).save(folder / CARRIED)
    return CARRIED
