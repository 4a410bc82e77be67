"""A promise about mistakes: the confidence from which on at most a given share of the answers is wrong.

In: an Evaluation of the validation part. Out: a `Promise` with a threshold that holds with 95 % certainty for pictures
of the same kind, where `shoebox.evaluation.selective` only says what was seen.
"""

import math
from dataclasses import dataclass

import numpy as np

from shoebox.base.errors import UsageError
from shoebox.evaluation.evaluation import Evaluation

DOUBT = 0.05
"""The probability with which the validation part may have been so lucky that the promise is broken."""
STEPS = 100


@dataclass(frozen=True)
class Promise:
    """What can be promised.

    Attributes:
        error: the share of mistakes among answers that is not exceeded.
        threshold: the least confidence of an answer; above 1 where nothing can be promised.
        answered, mistakes: on the validation part, from the threshold on.
        pictures: of the validation part, labelled.
    """

    error: float
    threshold: float
    answered: int
    mistakes: int
    pictures: int

    def __str__(self) -> str:
        if not self.answered:
            least = math.ceil(math.log(DOUBT) / math.log1p(-self.error))
            return (
                f"no confidence promises at most {self.error:.1%} mistakes: {self.pictures:,} validation pictures are "
                f"there, {least:,} without a mistake are the least that could show it"
            )
        return (
            f"at most {self.error:.1%} of what is at least {self.threshold:.1%} sure is wrong (validation: "
            f"{self.mistakes:,} of {self.answered:,}; {self.answered / self.pictures:.1%} are that sure)"
        )


def promise(validation: Evaluation, error: float) -> Promise:
    """Find the lowest threshold for which the promise stands the test.

    Thresholds are tried in a fixed order, the strictest first, each by the exact binomial test of "more than `error`
    are wrong", until one fails; so all together are wrong with a probability of `DOUBT` at most. Source: Angelopoulos
    et al. 2021, Learn then Test, arxiv.org/abs/2110.01052 (fixed-sequence testing); the risk of what is answered as in
    Geifman and El-Yaniv 2017, arxiv.org/abs/1705.08500.

    Args:
        validation: never pictures that were learnt from; unlabelled ones are left out.
        error: 0…1, both excluded.

    Raises:
        UsageError: the error is out of its range.
    """
    if not 0 < error < 1:
        raise UsageError(f"error={error}: expected a share between 0 and 1, for example 0.05")
    known = validation.labelled
    order = np.argsort(-validation.confidences[known], kind="stable")
    confidences = validation.confidences[known][order]
    mistakes = np.cumsum((validation.predictions != validation.labels)[known][order])
    count = len(confidences)
    found = Promise(error, float(np.nextafter(1, 2)), 0, 0, count)
    # Three times as many as could show it without a mistake: the strictest threshold must not fall to bad luck.
    first = min(count, math.ceil(3 * math.log(DOUBT) / math.log1p(-error)))
    for tried in range(first, count + 1, max(1, count // STEPS)) if count else ():
        threshold = float(confidences[tried - 1])
        answered = int(np.searchsorted(-confidences, -threshold, side="right"))
        wrong = int(mistakes[answered - 1])
        if _tail(wrong, answered, error) > DOUBT:
            break
        found = Promise(error, threshold, answered, wrong, count)
    return found


def _tail(wrong: int, count: int, error: float) -> float:
    """The probability of at most `wrong` mistakes in `count` answers if each is one with probability `error`."""
    i = np.arange(1, wrong + 1)
    ways = np.concatenate([[0.0], np.cumsum(np.log(count - i + 1) - np.log(i))])
    k = np.arange(wrong + 1)
    return float(np.exp(ways + k * math.log(error) + (count - k) * math.log1p(-error)).sum())
