"""Conformal prediction: sets of classes that hold the right one as often as promised.

In: an Evaluation of the validation part, and the share of pictures for which the set may miss. Out: a `Conformal`,
which makes sets for any pictures of the same kind, and the promise holds whatever the network is (Vovk et al. 2005).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import UsageError
from shoebox.evaluation.evaluation import Evaluation

Doubles = NDArray[np.float64]


def _thr(probabilities: Doubles, draws: Doubles) -> Doubles:
    """1 - probability (Sadinle et al. 2019, doi.org/10.1080/01621459.2017.1395341): the smallest sets on average."""
    return 1 - probabilities


def _aps(probabilities: Doubles, draws: Doubles) -> Doubles:
    """The probability of all more likely classes and a random share of its own (Romano et al. 2020,
    arxiv.org/abs/2006.02544): larger sets for harder pictures. Of equals the later class counts as more likely."""
    order = np.argsort(probabilities, axis=1, kind="stable")[:, ::-1]
    down = np.take_along_axis(probabilities, order, axis=1)
    scores = np.empty_like(probabilities)
    np.put_along_axis(scores, order, np.cumsum(down, axis=1) - draws[:, None] * down, axis=1)
    return scores


METHODS: dict[str, Callable[[Doubles, Doubles], Doubles]] = {"thr": _thr, "aps": _aps}
"""How strange each class (N, K) of a picture is, from probabilities (N, K) and a random number (N,) a picture."""


@dataclass(frozen=True)
class Conformal:
    """Makes prediction sets.

    Attributes:
        method: a name of `METHODS`.
        error: the share of pictures whose set may lack the right class.
        threshold: a class is in the set if it is at most this strange; infinite where there were too few pictures to
            promise anything with less than every class.
        seed: of the random numbers that APS needs.
    """

    method: str
    error: float
    threshold: float
    seed: int = 0

    def sets(self, probabilities: Doubles) -> NDArray[np.bool_]:
        """(N, K) bool, which classes are in each picture's set; a set may be empty: nothing is likely enough."""
        return METHODS[self.method](probabilities, _draws(self.seed + 1, len(probabilities))) <= self.threshold


def calibrate(validation: Evaluation, error: float = 0.1, method: str = "thr", *, seed: int = 0) -> Conformal:
    """Find the threshold that keeps the promise: the (n + 1)(1 - error)-th smallest strangeness of a right class.

    Args:
        validation: never the part that the coverage is then quoted for; unlabelled pictures are left out.
        error: 0…1.
        method: "thr" or "aps".

    Raises:
        UsageError: there is no such method, or the error is not between 0 and 1.
    """
    if method not in METHODS:
        raise UsageError(f"no conformal method is called {method!r}: choose from {', '.join(METHODS)}")
    if not 0 < error < 1:
        raise UsageError(f"error={error}: expected a share between 0 and 1, for example 0.1")
    known = validation.labelled
    probabilities, labels = validation.probabilities[known], validation.labels[known]
    strange = METHODS[method](probabilities, _draws(seed, len(labels)))[np.arange(len(labels)), labels]
    rank = math.ceil((len(labels) + 1) * (1 - error) - 1e-9)  # 1 - 0.1 is not exactly 0.9
    threshold = float(np.sort(strange)[rank - 1]) if rank <= len(labels) else math.inf
    return Conformal(method, error, threshold, seed)


@dataclass(frozen=True)
class Coverage:
    """How prediction sets did on labelled pictures.

    Attributes:
        coverage: the share of sets that hold the right class.
        size: the mean number of classes in a set.
        single, empty: the share of sets of one class, and of none.
    """

    coverage: float
    size: float
    single: float
    empty: float


def coverage(conformal: Conformal, evaluation: Evaluation) -> Coverage:
    """Hold the promise against the labelled pictures of another part; nan where there are none."""
    known = evaluation.labelled
    labels = evaluation.labels[known]
    if not len(labels):
        return Coverage(*[float("nan")] * 4)
    sets = conformal.sets(evaluation.probabilities[known])
    sizes = sets.sum(axis=1)
    held = sets[np.arange(len(labels)), labels]
    return Coverage(float(held.mean()), float(sizes.mean()), float(np.mean(sizes == 1)), float(np.mean(sizes == 0)))


def _draws(seed: int, count: int) -> Doubles:
    return np.random.default_rng(seed).random(count)
