"""A second look at pictures the classifier is unsure of: the same picture shifted and mirrored, answers averaged.

In: what computes scores. Out: the same, slower on the unsure pictures only. Averaging over views is test-time
augmentation (Krizhevsky et al. 2012); gating it by confidence spends its cost where it can change an answer.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import UsageError
from shoebox.data.preprocess import mirrors
from shoebox.deploy.backends import Scores

SHIFT = 16
"""Views are shifted by 1/16 of the side."""


def look_again(
    scores: Callable[[NDArray[np.uint8]], Scores], below: float, *, mirrored: bool
) -> Callable[[NDArray[np.uint8]], Scores]:
    """Wrap a backend's `scores` so that pictures with a confidence under `below` are seen in several views.

    Args:
        below: 0 to 1; at 1 every picture is.
        mirrored: whether to look at them mirrored too: not so for digits or letters.

    Raises:
        UsageError: `below` is out of its range.
    """
    if not 0 < below <= 1:
        raise UsageError(f"a confidence below which to look again is above 0 and at most 1, not {below}")

    def work(pictures: NDArray[np.uint8]) -> Scores:
        probabilities, features = scores(pictures)
        unsure = np.flatnonzero(probabilities.max(axis=1) < below)
        if len(unsure):
            seen = [probabilities[unsure], *(scores(view)[0] for view in views(pictures[unsure], mirrored=mirrored))]
            probabilities = probabilities.copy()
            probabilities[unsure] = np.mean(seen, axis=0)
        return probabilities, features

    return work


def views(pictures: NDArray[np.uint8], *, mirrored: bool) -> Iterator[NDArray[np.uint8]]:
    """The pictures (n, S, S, 3) shifted to four sides, what leaves a side repeated at the other; and mirrored."""
    step = max(1, pictures.shape[1] // SHIFT)
    padded = np.pad(pictures, ((0, 0), (step, step), (step, step), (0, 0)), mode="edge")
    side = pictures.shape[1]
    for down, right in ((0, step), (2 * step, step), (step, 0), (step, 2 * step)):
        yield np.ascontiguousarray(padded[:, down : down + side, right : right + side])
    if mirrored:
        yield np.ascontiguousarray(pictures[:, :, ::-1])


def may_be_mirrored(config: dict[str, Any]) -> bool:
    """Whether a mirrored look tells more: the classifier of this `config.json` was trained on mirrored pictures, and
    does not look at each picture both ways by itself."""
    itself = config.get("preprocess", {}).get("mirror", False)
    return not itself and mirrors(config.get("card", {}).get("recipe", {}).get("augment") or ())
