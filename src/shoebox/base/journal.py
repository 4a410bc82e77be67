"""A write-ahead journal of file operations: planned, applied, resumable after a kill at any moment, undoable.

    steps = [Step("move", photo, folder / "cat" / "photo.jpg"), Step("copy", other, folder / "dog" / "other.jpg")]
    journal = plan(folder / ".shoebox" / "sort-1.journal", steps, about="sort holiday/")  # no picture is touched yet
    outcome = apply(journal)  # after a crash: resume(journal), whichever way it was going
    outcome = undo(journal)  # every byte and name as before

In: steps (operation, source, target); operations are "move", "copy", "symlink", "hardlink". Out: a file that holds the
whole plan before the first picture is touched, then a line for whatever has been done; and an `Outcome`.

What holds at every moment, and after a kill at any: no file is overwritten (targets appear by RENAME_NOREPLACE, link or
O_EXCL); no source is removed before its content is durably at the target; a file that is not the one that was planned
(its number on the disk, its size or time of change differ) is left alone and reported. Undoing removes a copy only
while it is the one that was made, puts moved files back where they were, and removes the folders that the plan made if
they are empty. What a killed run has done is seen from the files themselves, so a lost line does no harm.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shoebox.base.copying import GROUP, copy_ahead, copy_step
from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.files import lock, sync_folder
from shoebox.base.ledger import Ledger, Step, journals, read_ledger, write_ledger
from shoebox.base.moves import Crossing, Identity, identity, is_regular, move
from shoebox.base.progress import QUIET, Progress, printable

__all__ = [
    "Failure",
    "Outcome",
    "Step",
    "apply",
    "finish",
    "plan",
    "resume",
    "steps_of",
    "undo",
    "undo_last",
]

_STOPPING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


@dataclass(frozen=True)
class Failure:
    """A step that was not carried out, or not taken back; everything it names is as it was."""

    step: Step
    reason: str

    def __str__(self) -> str:
        return printable(f"{self.step.source}: {self.reason}").replace("\n", "\\n")


@dataclass(frozen=True)
class Outcome:
    """What became of a journal: how many of its steps are done (or taken back) by now, and which are not."""

    done: int
    failures: tuple[Failure, ...] = ()


def plan(path: Path, steps: Sequence[Step], *, about: str = "") -> Path:
    """Write a journal that holds `steps`, durably; nothing else is touched.

    Args:
        path: a new file; its folder is made if missing. Beside it lies `lock`, held while a journal is at work.
        steps: done in order. A target may be the source of an earlier move; the folders of targets are made.
        about: one line for the person who reads it.

    Returns:
        `path`.

    Raises:
        UsageError: a source is no regular file or is moved twice, a target exists or is named twice.
    """
    # Not `resolve`, which would follow a link to the file it names.
    steps = [Step(s.operation, s.source.absolute(), s.target.absolute()) for s in steps]
    identities = _checked(steps)
    if path.exists():
        raise UsageError(f"{path} exists already: a journal is written once")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_ledger(path, steps, identities, about)
    return path


def apply(path: Path, *, progress: Progress = QUIET) -> Outcome:
    """Carry out the steps that are not done yet; one that fails is reported and the others go on.

    Raises:
        UsageError: it is no journal, or an undo of it has begun.
        ShoeboxError: the disk is full or failing (what is done stays done, `resume` goes on), or another process is at
            work in the journal's folder.
    """
    with _opened(path) as ledger:
        if ledger.undoing:
            raise UsageError(f"{path} has been undone, at least in part: make a new plan")
        return _forward(ledger, progress)


def undo(path: Path, *, progress: Progress = QUIET) -> Outcome:
    """Take back every step that was done, the last first, also of a journal that was only half applied.

    Raises:
        UsageError, ShoeboxError: as `apply`.
    """
    with _opened(path) as ledger:
        return _backward(ledger, progress)


def resume(path: Path, *, progress: Progress = QUIET) -> Outcome:
    """Go on after a crash the way it was going: `undo` if one had begun, else `apply`."""
    with _opened(path) as ledger:
        return _backward(ledger, progress) if ledger.undoing else _forward(ledger, progress)


def undo_last(place: Path, *, progress: Progress = QUIET) -> tuple[Path, Outcome]:
    """Take back a journal, or the last one kept for a folder that still stands.

    Returns:
        the journal, and what became of it.

    Raises:
        UsageError: there is nothing to take back; else as `undo`.
    """
    if place.is_dir():
        standing = [path for path in journals(place) if read_ledger(path).stands]
        if not standing:
            raise UsageError(f"{place} holds nothing that could be taken back")
        place = standing[-1]
    return place, undo(place, progress=progress)


def finish(folder: Path, verb: str, *, progress: Progress = QUIET) -> None:
    """Go on, whichever way it was going, with every journal of a folder that was interrupted.

    Args:
        verb: only with journals of this one.
    """
    for path in journals(folder, verb):
        if waiting := read_ledger(path).waiting:
            progress.say(f"{path}: going on with {waiting:,} files")
            resume(path, progress=progress)


def steps_of(path: Path) -> tuple[Step, ...]:
    """The plan that a journal holds, with absolute paths."""
    return tuple(read_ledger(path).steps)


def _checked(steps: Sequence[Step]) -> list[Identity]:
    """The identities of all sources, once it is sure that no step can meet another or a file that exists."""
    moved: set[Path] = set()
    taken: set[Path] = set()
    identities = []
    for step in steps:
        found = identity(step.source)
        if found is None or not is_regular(step.source):
            raise UsageError(f"{_shown(step.source)}: not a regular file, so it can be neither moved nor copied")
        if step.source in moved:
            raise UsageError(f"{_shown(step.source)}: used again after it is moved, in one plan")
        if step.target in taken or (step.target not in moved and os.path.lexists(step.target)):
            raise UsageError(f"{_shown(step.target)}: exists already, or is named twice; nothing is overwritten")
        taken.add(step.target)
        if step.operation == "move":
            moved.add(step.source)
        identities.append(found)
    return identities


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Ledger]:
    read_ledger(path)  # before a lock file is made beside something that is no journal
    with lock(path.parent), path.open("a", encoding="utf-8", newline="") as file:
        ledger = read_ledger(path)
        ledger.file = file
        file.write("\n")  # ends a line that a killed writer left half written
        for i, step in enumerate(ledger.steps):
            if i not in ledger.done or ledger.undoing:
                for folder in (step.source.parent, step.target.parent):
                    with contextlib.suppress(OSError):
                        ledger.temporary(i, folder).unlink()
        yield ledger


def _forward(ledger: Ledger, progress: Progress) -> Outcome:
    for folder in ledger.folders:
        with contextlib.suppress(OSError):  # every step into it says so itself
            Path(folder).mkdir()
    waiting = [i for i in range(len(ledger.steps)) if i not in ledger.done]
    outcome = _each(ledger, waiting, _carry_out, "done", progress)
    ledger.note({"ended": "done"}, durably=True)
    return outcome


def _backward(ledger: Ledger, progress: Progress) -> Outcome:
    if not ledger.undoing:
        ledger.note({"undoing": True}, durably=True)
    waiting = [i for i in reversed(range(len(ledger.steps))) if i not in ledger.undone]
    outcome = _each(ledger, waiting, _take_back, "undone", progress)
    for folder in reversed(ledger.folders):
        with contextlib.suppress(OSError):  # something else is in it by now, or it is gone
            Path(folder).rmdir()
    ledger.note({"ended": "undone"}, durably=True)  # until then it stands, so that no empty folder is left
    return outcome


def _each(
    ledger: Ledger, numbers: list[int], act: Callable[[Ledger, int], None], word: str, progress: Progress
) -> Outcome:
    failures = []
    for place, i in enumerate(progress.track(numbers, len(numbers), "files")):
        if word == "done" and place % GROUP == 0:
            copy_ahead(ledger, numbers[place : place + GROUP])
        try:
            act(ledger, i)
        except OSError as e:
            if e.errno in _STOPPING:
                raise ShoeboxError(
                    f"{e.strerror}: stopped, and nothing is lost; once that is mended, go on with {ledger.path}"
                ) from e
            failures.append(Failure(ledger.steps[i], e.strerror or str(e)))
        else:
            ledger.note({word: i})
    steps = [ledger.steps[i] for i in numbers]
    for folder in {step.source.parent for step in steps} | {step.target.parent for step in steps}:
        if folder.is_dir():
            sync_folder(folder)
    return Outcome(len(ledger.steps) - len(failures), tuple(failures))


def _carry_out(ledger: Ledger, i: int) -> None:
    step, planned = ledger.steps[i], ledger.identities[i]
    here, there = identity(step.source), identity(step.target)
    if there is not None and _is_ours(ledger, i, there):
        # Done when the writer was killed, perhaps but for the removal of the source.
        if step.operation == "move" and here == planned:
            step.source.unlink()
        return
    if here is None:
        raise FileNotFoundError(errno.ENOENT, "no longer there")
    if here != planned:
        raise OSError(errno.EBUSY, "has changed since the plan was made")
    if step.operation == "symlink":
        step.target.symlink_to(step.source)
    elif step.operation == "hardlink":
        os.link(step.source, step.target)
    elif step.operation == "copy":
        copy_step(ledger, i, step.source, step.target)
    else:
        _move(ledger, i, step.source, step.target)


def _take_back(ledger: Ledger, i: int) -> None:
    step = ledger.steps[i]
    here, there = identity(step.source), identity(step.target)
    ours = there is not None and _is_ours(ledger, i, there)
    made = ours or (there is not None and i in ledger.done)
    if step.operation != "move":
        if ours:
            step.target.unlink()
        elif made:
            raise OSError(errno.EBUSY, f"{_shown(step.target)} has changed since, so it stays")
    elif here is None:
        if not made:
            raise FileNotFoundError(errno.ENOENT, f"is no longer at {_shown(step.target)}")
        step.source.parent.mkdir(parents=True, exist_ok=True)
        _move(ledger, i, step.target, step.source)
    elif here == ledger.identities[i] or here in ledger.copies.get(i, ()):
        if ours:  # killed between the two halves of a move, either way; the source is whole
            step.target.unlink()
    elif made:
        raise FileExistsError(errno.EEXIST, f"another file has its name, so it stays at {_shown(step.target)}")


def _is_ours(ledger: Ledger, i: int, there: Identity) -> bool:
    """Whether what lies at a step's target is what that step put there."""
    step, planned = ledger.steps[i], ledger.identities[i]
    if step.operation == "symlink":
        return step.target.is_symlink() and step.target.readlink() == step.source
    if step.operation == "hardlink":
        return there[0] == planned[0]
    return there in ledger.copies.get(i, ()) or (step.operation == "move" and there == planned)


def _move(ledger: Ledger, i: int, source: Path, target: Path) -> None:
    try:
        move(source, target)
    except Crossing:
        copy_step(ledger, i, source, target)
        sync_folder(target.parent)  # before the only other copy goes
        source.unlink()


def _shown(path: Path) -> str:
    return printable(os.fspath(path)).replace("\n", "\\n")
