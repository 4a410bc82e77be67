"""A pile looked through: every picture below a folder with what the classifier says of it.

In: a run, a folder. Out: a `Look` per file, which says where it belongs: a class, unsure, of no class, or unreadable.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import UsageError
from shoebox.base.moves import is_regular
from shoebox.base.progress import QUIET, Progress
from shoebox.data.picture import Unreadable
from shoebox.data.reading import work_through
from shoebox.data.tree import read_tree
from shoebox.deploy.backends import Backend
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.novelty import Novelty

Verdict = Literal["sorted", "unsure", "unknown", "unreadable", "left"]


@dataclass(frozen=True)
class Look:
    """One file of a pile.

    Attributes:
        path: relative to the pile, or absolute.
        verdict: "sorted" into its class; "unsure"; "unknown", of no class; "unreadable"; "left" where it is.
        probabilities: (K,), or None where it was not looked at.
        truth: the class that the folders above it name, if one does.
        reason: why it is unreadable or left.
    """

    path: str
    verdict: Verdict
    probabilities: NDArray[np.float32] | None = None
    truth: int | None = None
    reason: str = ""

    @property
    def best(self) -> int:
        """The most probable class."""
        assert self.probabilities is not None
        return int(self.probabilities.argmax())


def look_through(
    backend: Backend,
    pile: Path,
    *,
    threshold: float,
    novelty: Novelty | None,
    leave: Collection[Path] = (),
    without: Path | None = None,
    progress: Progress = QUIET,
) -> list[Look]:
    """Look at every picture of a pile, in the order of their names.

    Args:
        threshold: the least confidence to be sorted with.
        novelty: what tells pictures of no class, or None not to ask.
        leave: files that have been sorted before.
        without: a folder within the pile that is not part of it.

    Raises:
        UsageError: the pile is no folder.
    """
    if not pile.is_dir():
        raise UsageError(f"{pile}: a pile is a folder of pictures, and there is none")
    tree = read_tree(pile)
    looks = {skipped.path: Look(skipped.path, "unreadable", reason=skipped.reason) for skipped in tree.skipped}
    files = []
    for path, reason in _standing(pile, tree.files, without, leave):
        if reason:
            looks[path] = Look(path, "left", reason=reason)
        else:
            files.append(path)
    positions = {name: i for i, name in enumerate(backend.classes)}
    scored = work_through(
        [pile / path for path in files],
        backend.preprocess,
        _scoring(backend, novelty),
        chunk=backend.batch,
        workers=backend.workers,
    )
    for path, (_, found) in zip(files, progress.track(scored, len(files), "looking"), strict=True):
        truth = next((positions[part] for part in Path(path).parent.parts if part in positions), None)
        if isinstance(found, Unreadable):
            looks[path] = Look(path, "unreadable", truth=truth, reason=found.reason)
            continue
        probabilities, strange = found[:-1], bool(found[-1])
        verdict: Verdict = "unknown" if strange else "sorted" if probabilities.max() >= threshold else "unsure"
        looks[path] = Look(path, verdict, probabilities, truth)
    return [looks[path] for path in sorted(looks)]


def _standing(
    pile: Path, files: Sequence[str], without: Path | None, leave: Collection[Path]
) -> Iterator[tuple[str, str]]:
    """The files of a pile, each with why it is left where it is, if it is."""
    first: dict[tuple[int, int], str] = {}
    for path in files:
        file = pile / path
        if without is not None and without in file.absolute().parents:
            continue
        if file.absolute() in leave:
            yield path, "sorted before"
        elif not is_regular(file):
            yield path, "a link: what it leads to is sorted"
        else:
            status = file.lstat()
            other = first.setdefault((status.st_dev, status.st_ino), path)
            yield path, "" if other == path else f"another name (hard link) of {other}"


def _scoring(backend: Backend, novelty: Novelty | None) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """What gives (n, K + 1): the probabilities, and whether the picture is of no class."""

    def work(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        probabilities, features = backend.scores(pictures)
        strange = np.zeros(len(pictures), bool) if novelty is None else foreign(novelty, probabilities, features)
        return np.column_stack([probabilities, strange]).astype(np.float32)

    return work


def accuracy(looks: Sequence[Look]) -> float:
    """The share of labelled pictures whose most probable class is theirs; nan without any."""
    known = [look.best == look.truth for look in looks if look.truth is not None and look.probabilities is not None]
    return float(np.mean(known)) if known else float("nan")


def foreign(novelty: Novelty, probabilities: NDArray[np.float32], features: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(n,) whether pictures are of no class, from what a backend says of them."""
    count, classes = probabilities.shape
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    return novelty.foreign(
        Evaluation(
            paths=("",) * count,
            labels=np.full(count, -1),
            logits=logits,
            classes=tuple(map(str, range(classes))),
            features=features.astype(np.float16),
        )
    )
