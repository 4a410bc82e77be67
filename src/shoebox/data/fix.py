"""Fixing what a check has found: suggestions become corrections beside the data, or moves that can be undone.

In: a data set and the `check.csv` of its check. Out: `labels.csv` (`shoebox.data.patch`), or files moved into
`.shoebox/quarantine` and into other classes' folders; either way by a journal in `.shoebox`, which `shoebox undo` takes
back. Nothing is deleted and no picture is altered. A person who goes through suspects one by one: `data/suspects.py`.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shoebox.base import journal
from shoebox.base.errors import UsageError
from shoebox.base.files import atomic_write
from shoebox.base.journal import Step
from shoebox.base.ledger import SHELF, next_journal
from shoebox.base.moves import is_regular
from shoebox.base.progress import QUIET, Progress
from shoebox.base.tables import harmless
from shoebox.data.check import read_report, real_names
from shoebox.data.index import ImageIndex
from shoebox.data.names import one_line, part_of
from shoebox.data.patch import NAME, Correction, patch_text, read_patch, require_own
from shoebox.data.sources import open_source
from shoebox.data.table import find_metadata, is_table

ACTIONS = ("quarantine", "drop", "relabel")
"""From the strongest: a picture that two findings are about is treated by the first of these."""

FEW = 10  # failures that are told one by one


def fix(
    data: str,
    table: Path,
    *,
    actions: Iterable[str] = (),
    move: bool = False,
    cache: Path | None = None,
    progress: Progress = QUIET,
) -> dict[str, Any]:
    """Do some of what a check suggests. An interrupted fix of the same data is finished first.

    Args:
        data: the data set that was checked.
        table: the `check.csv` of that check.
        actions: of `ACTIONS`; none only counts.
        move: move the files instead of writing `labels.csv`.

    Returns:
        how many pictures each action is about, whether it was applied, the journal, the patch or the moved files.

    Raises:
        UsageError: the data are an archive or a named set, whose unpacked files are only a cache; `labels.csv` is
            somebody else's.
        ShoeboxError: the table cannot be read; the disk is full.
    """
    chosen = set(actions)
    if not Path(data).is_dir() and not is_table(Path(data)):
        raise UsageError(
            f"{one_line(data)} is neither a folder nor a table: what is beside its pictures is a cache and may be "
            "cleared; unpack it, and fix the folder"
        )
    index = open_source(data, cache=cache, progress=progress)
    if list((index.root / SHELF).glob("fix-*.journal")):
        journal.finish(index.root, "fix", progress=progress)
        index = open_source(data, cache=cache, progress=progress)
    plan = planned(index, read_report(table))
    counts = {action: sum(act == action for act, _ in plan.values()) for action in ACTIONS}
    wanted = {path: what for path, what in plan.items() if what[0] in chosen}
    result = {"data": str(index.root), "suggested": counts, "chosen": len(wanted), "applied": False}
    if not wanted:
        return result
    path = next_journal(index.root, "fix")
    steps, left = _moves(index, wanted) if move else (_patching(index, wanted, path.stem), [])
    if not steps:
        return {**result, "failures": left}
    about = f"shoebox fix: {', '.join(sorted(chosen))}"
    outcome = journal.apply(journal.plan(path, steps, about=about), progress=progress)
    failures = [*left, *(str(failure) for failure in outcome.failures)]
    where = {"moved": outcome.done} if move else {"labels": str(index.root / NAME)}
    return {**result, **where, "applied": True, "journal": str(path), "failures": failures}


def planned(index: ImageIndex, rows: Sequence[Mapping[str, str]]) -> dict[str, tuple[str, str]]:
    """Path → (action, suggested label), one for each picture that a report suggests anything about.

    Rows about pictures that are gone, or whose label has been changed since, are passed over.
    """
    real, classes = real_names(index.paths), real_names(index.classes)
    names = [*index.classes, ""]
    label_of = {path: names[label] for path, label in zip(index.paths, index.labels.tolist(), strict=True)}
    plan: dict[str, tuple[str, str]] = {}
    for row in rows:
        path, action = real.get(row["path"]), row["action"]
        if path is None or action not in ACTIONS or harmless(label_of[path]) != row["label"]:
            continue
        suggested = classes.get(row["suggested"], "")
        if action == "relabel" and not suggested:
            continue
        before = plan.get(path)
        if before is None or ACTIONS.index(action) < ACTIONS.index(before[0]):
            plan[path] = (action, suggested)
    return plan


def summary(result: Mapping[str, Any]) -> str:
    """What was done, or could be, in words."""
    counts = result["suggested"]
    failures = result.get("failures", [])
    left = [f"left: {failure}" for failure in failures[:FEW]]
    left += [f"left: {len(failures) - FEW:,} more, listed by --json"] if len(failures) > FEW else []
    if not result["applied"]:
        suggested = (
            f"suggested: --quarantine {counts['quarantine']:,} pictures, --relabel {counts['relabel']:,}, "
            f"--drop-duplicates {counts['drop']:,}"
        )
        return "\n".join([suggested, *left, "nothing was changed: name what to do; it can be undone"])
    done = (
        f"{result['moved']:,} files moved"
        if "moved" in result
        else f"{result['chosen']:,} correction{'s' * (result['chosen'] != 1)} in {result['labels']}"
    )
    return "\n".join([done, *left, f"to take it back: shoebox undo {result['journal']}"])


def _patching(index: ImageIndex, wanted: Mapping[str, tuple[str, str]], name: str) -> list[Step]:
    """The steps that put a new `labels.csv` in place of the one there is; `name` is the journal's."""
    target, shelf = index.root / NAME, index.root / SHELF
    require_own(target)
    why = {"quarantine": "set aside by check", "drop": "a copy, dropped by check", "relabel": "relabelled by check"}
    patch = read_patch(target)
    for path, (action, suggested) in wanted.items():
        patch[path] = Correction(suggested if action == "relabel" else None, why[action])
    shelf.mkdir(exist_ok=True)
    made = shelf / f"{name}-labels.csv"
    with atomic_write(made) as file:
        file.write(patch_text(patch))
    before = [Step("move", target, shelf / f"{name}-labels-before.csv")] if target.exists() else []
    return [*before, Step("copy", made, target)]


def _moves(index: ImageIndex, wanted: Mapping[str, tuple[str, str]]) -> tuple[list[Step], list[str]]:
    """The steps that move pictures into the quarantine and into the folders of their classes; and what cannot be."""
    row_of = {path: row for row, path in enumerate(index.paths)}
    taken: set[Path] = set()
    steps, left = [], []
    for path, (action, suggested) in wanted.items():
        if Path(path).is_absolute() or not is_regular(index.root / path):
            left.append(f"{one_line(path)}: a link, or outside the data set")
            continue
        place = _refiled(index, row_of[path], suggested) if action == "relabel" else f"{SHELF}/quarantine/{path}"
        if place is None:
            left.append(f"{one_line(path)}: no folder gives it its class, so moving it would not change that")
            continue
        target = _free(index.root / place, taken)
        taken.add(target)
        steps.append(Step("move", index.root / path, target))
    return steps, left


def _refiled(index: ImageIndex, row: int, suggested: str) -> str | None:
    """Where a picture lies when its class's folder is another one; None if its class is not told by a folder."""
    folders = index.paths[row].split("/")
    label = index.classes[index.labels[row]]
    start = 1 if index.part[row] and part_of(folders[0]) else 0  # train/cat/1.jpg
    if label not in folders[start:-1] or find_metadata(index.root) or find_metadata(index.root / folders[0]):
        return None
    folders[folders.index(label, start)] = suggested
    return "/".join(folders)


def _free(target: Path, taken: set[Path]) -> Path:
    """`target`, with a number before its ending where the name is used."""
    free, number = target, 2
    while free in taken or os.path.lexists(free):
        free, number = target.with_name(f"{target.stem}-{number}{target.suffix}"), number + 1
    return free
