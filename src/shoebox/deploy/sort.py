"""Sort: an unsorted pile into a folder a class, with a plan shown first, a journal, and an undo.

In: a run, a pile, a folder. Out: the pictures the classifier is sure enough of in a folder of their class, the others
in `_unsure` and `_unknown`, a table of all, and `.shoebox/sort-N.journal`, with which `shoebox undo` takes everything
back. How sure is enough follows from a promise about mistakes (`shoebox.evaluation.promise`).
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoebox.base import journal
from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.journal import Step
from shoebox.base.ledger import Operation, journals, next_journal, read_ledger
from shoebox.base.moves import identity
from shoebox.base.progress import QUIET, Progress
from shoebox.base.tables import Row, write_rows
from shoebox.deploy.fastest import open_backend
from shoebox.deploy.naming import UNKNOWN, UNSURE, FreeNames, class_folders
from shoebox.deploy.pile import Look, accuracy, look_through
from shoebox.evaluation.answers import answer, columns, numbers
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.novelty import fit_novelty
from shoebox.evaluation.promise import Promise, promise

OPERATIONS: dict[str, Operation] = {"copy": "copy", "move": "move", "link": "hardlink"}
TOP = 3


@dataclass(frozen=True)
class Sorting:
    """A plan: what was seen, and what would be done.

    Attributes:
        to: the folder of the sorted pictures.
        classes: their names.
        looks: one a file of the pile.
        steps: one a picture that finds a place.
        places: path of a look → its place, relative to `to`.
        promise: what is promised of the sorted ones; None where the threshold was given.
    """

    to: Path
    classes: tuple[str, ...]
    looks: tuple[Look, ...]
    steps: tuple[Step, ...]
    places: dict[str, str]
    promise: Promise | None

    def counts(self) -> dict[str, int]:
        """How many pictures go to each folder, and how many to none."""
        folders = Counter(place.partition("/")[0] for place in self.places.values())
        others = Counter(look.verdict for look in self.looks if look.path not in self.places)
        return {**dict(sorted(folders.items())), **{f"({verdict})": count for verdict, count in others.items()}}

    def scores(self) -> dict[str, float | int]:
        """How well it sorts, where the folders of the pile name the classes; empty where they do not."""
        known = [look for look in self.looks if look.truth is not None and look.probabilities is not None]
        placed = [look for look in known if look.verdict == "sorted"]
        if not known:
            return {}
        return {
            "labelled": len(known),
            "accuracy": accuracy(known),
            "sorted": len(placed),
            "sorted_accuracy": accuracy(placed),
            "mistakes": sum(look.best != look.truth for look in placed),
        }

    def table(self) -> str:
        """The dry run, for a person."""
        counts = self.counts()
        width = max(map(len, [*counts, "folder"]))
        lines = [f"{'folder':{width}}  pictures", *(f"{name:{width}}  {count:8,}" for name, count in counts.items())]
        if self.promise is not None:
            lines.append(str(self.promise))
        if scores := self.scores():
            lines.append(
                f"the pile is labelled: {scores['accuracy']:.2%} of {scores['labelled']:,} recognised; of the "
                f"{scores['sorted']:,} sorted into classes {scores['mistakes']:,} are wrong "
                f"({1 - scores['sorted_accuracy']:.2%})"
            )
        return "\n".join(lines)


def sort(
    run: Path,
    pile: Path,
    to: Path,
    *,
    how: str = "copy",
    error: float = 0.05,
    threshold: float | None = None,
    unknown: float = 0.01,
    device: str = "auto",
    agree: Callable[[str], bool],
    progress: Progress = QUIET,
) -> dict[str, Any]:
    """Sort a pile.

    An interrupted sort into the same folder is finished first. Pictures that were sorted there before are left.

    Args:
        run: the folder of a trained classifier, with its `val.npz`.
        pile: a folder; all pictures below it, however deep.
        to: made if missing.
        how: "copy", "move" or "link" (hard links: another name of the same file).
        error: the share of mistakes among the sorted that is promised not to be exceeded.
        threshold: the least confidence, instead of one that follows from `error`.
        unknown: the share of pictures of the classes that may be taken for foreign; 0 not to look for foreign ones.
        agree: is shown the plan and says whether to go on.

    Returns:
        to, planned (how many find a place), counts, scores, promised and threshold; if agreed also done, failures,
        journal and predictions.

    Raises:
        UsageError: an option is out of its range, there is no pile, or nothing to choose thresholds by.
        ShoeboxError: the disk has no room, or is failing; what has been done stays, the same call goes on.
    """
    if how not in OPERATIONS:
        raise UsageError(f"how={how!r}: choose from {', '.join(OPERATIONS)}")
    if pile.resolve() == to.resolve():
        raise UsageError(f"{to} is the pile itself: choose another folder to sort into; it may lie within the pile")
    to = to.absolute()
    before = _finish(to, progress)
    plan = _plan(run, pile, to, OPERATIONS[how], error, threshold, unknown, device, before, progress)
    result: dict[str, Any] = {
        "to": str(to),
        "planned": len(plan.steps),
        "counts": plan.counts(),
        "scores": plan.scores(),
        "promised": None if plan.promise is None else plan.promise.error,
        "threshold": threshold if plan.promise is None else plan.promise.threshold,
    }
    if not plan.steps or not agree(plan.table()):
        return {**result, "applied": False}
    if how == "copy":
        _require_room(plan)
    path = journal.plan(next_journal(to, "sort"), plan.steps, about=f"sort {pile} by {run}")
    predictions = to / FreeNames.of(to).take("predictions.csv")
    _write(plan, predictions)
    outcome = journal.apply(path, progress=progress)
    failures = [str(failure) for failure in outcome.failures]
    done = {"done": outcome.done, "failures": failures, "journal": str(path), "predictions": str(predictions)}
    return {**result, "applied": True, **done}


def summary(result: dict[str, Any]) -> str:
    """What became of a sort, in words."""
    if not result["planned"]:
        return "nothing is left to sort"
    if not result["applied"]:
        return "nothing was touched; --yes goes on without asking"
    lines = [f"{result['done']:,} pictures in {result['to']}; what is where: {result['predictions']}"]
    lines += [f"not sorted: {failure}" for failure in result["failures"]]
    return "\n".join([*lines, f"to take it back: shoebox undo {result['journal']}"])


def _plan(
    run: Path,
    pile: Path,
    to: Path,
    operation: Operation,
    error: float,
    threshold: float | None,
    unknown: float,
    device: str,
    before: set[Path],
    progress: Progress,
) -> Sorting:
    if not 0 <= unknown < 1:
        raise UsageError(f"unknown={unknown}: expected a share from 0 to less than 1")
    if not (run / "val.npz").is_file():
        raise UsageError(f"{run} has no val.npz to choose thresholds by: give the folder of a run")
    validation = Evaluation.load(run / "val.npz")
    promised = promise(validation, error) if threshold is None else None
    least = promised.threshold if promised is not None else float(threshold or 0)
    method = "energy" if validation.features is None else "knn"
    novelty = fit_novelty(validation, method, false_alarms=unknown) if unknown and len(validation) > 1 else None
    backend = open_backend(run, device)
    looks = look_through(backend, pile, threshold=least, novelty=novelty, leave=before, without=to, progress=progress)
    folders = class_folders(backend.classes)
    steps, places = [], {}
    names: dict[str, FreeNames] = {}
    for look in looks:
        if look.verdict in ("unreadable", "left"):
            continue
        folder = {"unsure": UNSURE, "unknown": UNKNOWN}.get(look.verdict) or folders[look.best]
        free = names.setdefault(folder, FreeNames.of(to / folder))
        name = free.take(Path(look.path).name)
        steps.append(Step(operation, pile / look.path, to / folder / name))
        places[look.path] = f"{folder}/{name}"
    return Sorting(to, backend.classes, tuple(looks), tuple(steps), places, promised)


def _finish(to: Path, progress: Progress) -> set[Path]:
    """Finish what was interrupted. Returns the files that stand sorted in `to`, by the names they had."""
    sorted_: set[Path] = set()
    journal.finish(to, "sort", progress=progress)
    for path in journals(to, "sort"):
        ledger = read_ledger(path)
        if not ledger.undoing:
            steps = [ledger.steps[i] for i in ledger.done]
            sorted_ |= {step.source for step in steps if step.operation != "move" and identity(step.target)}
    return sorted_


def _require_room(plan: Sorting) -> None:
    needed = sum(found[1] for step in plan.steps if (found := identity(step.source)))
    there = next(folder for folder in (plan.to, *plan.to.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise ShoeboxError(
            f"{plan.to} has room for {free / 1e9:,.1f} GB, and the copies take {needed / 1e9:,.1f} GB: choose another "
            "folder, or --move or --link"
        )


def _write(plan: Sorting, path: Path) -> None:
    names = [*columns(len(plan.classes), TOP)[:-1], "truth", "verdict", "place", "status"]

    def rows() -> Iterator[Row]:
        for look in plan.looks:
            row: Row = {"path": look.path, "status": look.reason}
            if look.probabilities is not None:
                row = answer(look.path, look.probabilities, plan.classes, TOP)
            truth = "" if look.truth is None else plan.classes[look.truth]
            yield {**row, "truth": truth, "verdict": look.verdict, "place": plan.places.get(look.path, "")}

    path.parent.mkdir(parents=True, exist_ok=True)
    write_rows(path, list(rows()), names, numbers(names))
