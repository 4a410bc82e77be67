"""A split without leaks: pictures that are nearly the same, or of one sequence, stay on one side of it.

In: an index whose parts are partly open, and its pack. Out: the index divided by whole groups; what is worth telling of
it; and, once a classifier is trained, what accuracy a split that ignores groups would have claimed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shoebox.base.progress import QUIET, Progress
from shoebox.base.recipe import Recipe
from shoebox.classifier import Classifier
from shoebox.data.index import UNLABELLED, ImageIndex
from shoebox.data.kin import Kin, find_kin
from shoebox.data.pack import Pack, Stream
from shoebox.data.split import split

MEASURING = ("val", "test")
ASKED = 2_000  # pictures that have been learnt from, with a like of theirs, that are scored to estimate a claim
SURE = 1.96  # standard errors


def divide(index: ImageIndex, packed: Pack | Stream, recipe: Recipe, *, progress: Progress = QUIET) -> ImageIndex:
    """Fill in the parts that are missing, by whole groups, and tell what matters of the groups.

    Args:
        index: as its source gives it; `packed`, made of the same rows, gets the new parts too.
        recipe: whose shares are those of val and test; where both are 0, there is nothing to divide.
    """
    if recipe.validation == 0 and recipe.test == 0:
        return split(index, validation=0, test=0)
    kin = find_kin(packed, progress=progress)
    read = _read(index, packed)
    for line in remarks(index.take(read), kin):
        progress.say(f"note: {line}")
    groups = _groups(read, kin)
    divided = split(index, validation=recipe.validation, test=recipe.test, seed=recipe.seed, groups=groups)
    packed.index = packed.index.with_part(divided.part[read])
    return divided


def _read(index: ImageIndex, packed: Pack | Stream) -> NDArray[np.bool_]:
    """(N,) which rows of the index are those of the pack."""
    paths = set(packed.index.paths)
    return np.array([path in paths for path in index.paths], bool)


def _groups(read: NDArray[np.bool_], kin: Kin) -> NDArray[np.int64]:
    """(N,) the group of each row; files that could not be read stand alone."""
    groups = np.arange(kin.count, kin.count + len(read))
    groups[read] = kin.groups()
    return groups


def remarks(index: ImageIndex, kin: Kin) -> list[str]:
    """What a person should know of the groups, a line each; `shoebox check` shows the pictures.

    Args:
        index: the rows that `kin` is about, with the parts that their source gave.
    """
    lines = []
    twins = Kin(kin.twins, kin.neighbours[:0], kin.count).groups()
    groups = kin.groups()
    sizes = np.bincount(groups, minlength=1)
    if len(kin.twins) or len(kin.neighbours):
        copies = len(twins) - len(np.unique(twins))
        together = int((sizes[groups] > 1).sum())
        lines.append(
            f"{copies:,} pictures are nearly the same as another; {together:,} are kept together, so that no copy or "
            "neighbour is learnt from and asked about"
        )
    two = _spread(twins, index.labels, index.labels != UNLABELLED)
    if two.any():
        lines.append(f"{two.sum():,} pictures are there under two labels: shoebox check shows them")
    given = np.isin(index.part, ("train", *MEASURING))
    parts = np.isin(index.part, MEASURING[0]) + 2 * np.isin(index.part, MEASURING[1])
    leaks = _spread(groups, parts, given) & (parts > 0)
    if leaks.any():
        share = leaks.sum() / (parts > 0).sum()
        lines.append(
            f"{leaks.sum():,} pictures of val or test ({share:.1%}) have their like in another part, so scores are too "
            "good: shoebox check shows them, shoebox fix --drop-duplicates takes them out"
        )
    return lines


def _spread(groups: NDArray[np.int64], values: NDArray[np.int64], counted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N,) whether a row is counted and its group has counted rows of several values, which are whole numbers ≥ 0."""
    many = int(values.max(initial=0)) + 1
    pairs = np.unique(groups[counted] * many + values[counted])
    several = np.bincount(pairs // many, minlength=int(groups.max(initial=0)) + 1) > 1
    found: NDArray[np.bool_] = several[groups] & counted
    return found


@dataclass(frozen=True)
class Claim:
    """What a split that ignores groups would have claimed of a classifier.

    Attributes:
        leaked: the share of its test part with a like in what it would have learnt from.
        accuracy: that it would have measured, estimated.
        honest: that was measured on the leak-proof test part.
    """

    leaked: float
    accuracy: float
    honest: float

    def __str__(self) -> str:
        return (
            f"a split that ignores copies would have claimed a test accuracy of about {self.accuracy:.3f} instead of "
            f"{self.honest:.3f}: {self.leaked:.1%} of its test part would have been seen in training"
        )


def naive_claim(
    classifier: Classifier,
    source: ImageIndex,
    packed: Pack | Stream,
    recipe: Recipe,
    honest: float,
    *,
    progress: Progress = QUIET,
) -> Claim | None:
    """Estimate it, where the difference is more than noise.

    A split is made as if every picture stood alone. What it measures on pictures without a like in its training part is
    the honest accuracy; on the others, the accuracy on pictures that were learnt from together with a like of theirs,
    which is measured on this classifier's own training part.

    Args:
        source: the index with the parts that its source gave; (N,) rows.
        packed: with the parts of the leak-proof split.
        honest: accuracy on the leak-proof test part.

    Returns:
        None where the source came with a test part, the difference is within the noise of a test part of that size
        (1.96 standard errors), or there is no pack beside which the groups are kept.
    """
    if not isinstance(packed, Pack) or (source.part == "test").any() or not recipe.test:
        return None
    kin = find_kin(packed, progress=progress)
    groups = _groups(_read(source, packed), kin)
    naive = split(source, validation=recipe.validation, test=recipe.test, seed=recipe.seed)
    asked = naive.part == "test"
    leaked = asked & np.isin(groups, groups[naive.part == "train"])
    share = float(leaked.sum() / max(asked.sum(), 1))
    noise = SURE * np.sqrt(max(honest * (1 - honest), 1e-4) / max(asked.sum(), 1))
    if share * (1 - honest) <= noise:
        return None
    own, learnt = kin.groups(), packed.index.part == "train"
    together = np.bincount(own[learnt], minlength=kin.count)[own] > 1
    rows = np.flatnonzero(learnt & together)
    if not len(rows):
        return None
    rows = np.sort(np.random.default_rng(recipe.seed).permutation(rows)[:ASKED])
    seen = classifier.score(packed, rows, progress=progress)
    known = float((seen.probabilities.argmax(1) == packed.index.labels[rows]).mean())
    claim = Claim(share, honest + share * (known - honest), honest)
    return claim if claim.accuracy - honest > noise else None
