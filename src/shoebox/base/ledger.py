"""The file of a journal: its plan, and line by line what has become of each step.

In: steps. Out: a JSON Lines file, written whole and durably before anything is done; then lines are appended. A last
line that a killed writer left half written is passed over. `shoebox.base.journal` does the work.
"""

import contextlib
import json
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, get_args

from shoebox.base.errors import UsageError
from shoebox.base.files import atomic_write
from shoebox.base.moves import Identity

FORMAT = 1
SHELF = ".shoebox"
"""The folder, beside a person's files, in which journals are kept."""

Operation = Literal["move", "copy", "symlink", "hardlink"]


@dataclass(frozen=True)
class Step:
    """One operation. `source` must be a regular file and `target` must not exist; a plan makes both absolute."""

    operation: Operation
    source: Path
    target: Path


@dataclass
class Ledger:
    """What a journal's file says.

    Attributes:
        id: what names the temporary files of this journal.
        about: one line for the person who reads it.
        folders: those that the plan makes, parents first.
        steps, identities: the plan, and what each source was when it was made.
        done, undone: numbers of steps.
        copies: number of a step → the copies it has made.
        undoing: an undo has begun.
        cleared: and come to its end, the folders that the plan made included.
        file: open for appending, or None.
    """

    path: Path
    id: str
    about: str
    folders: list[str]
    steps: list[Step]
    identities: list[Identity]
    done: set[int] = field(default_factory=set)
    undone: set[int] = field(default_factory=set)
    copies: dict[int, list[Identity]] = field(default_factory=dict)
    undoing: bool = False
    cleared: bool = False
    file: IO[str] | None = None

    @property
    def waiting(self) -> int:
        """How many steps are still to be done, or to be taken back where an undo has begun."""
        return len(self.steps) - len(self.undone if self.undoing else self.done)

    @property
    def stands(self) -> bool:
        """Whether there is anything to take back."""
        return not self.undoing or self.waiting > 0 or not self.cleared

    def take(self, line: dict[str, Any]) -> None:
        """Learn from a line."""
        if "done" in line:
            self.done.add(line["done"])
        elif "undone" in line:
            self.undone.add(line["undone"])
            self.cleared = False  # an undo that came to its end with failures goes on
        elif "copy" in line:
            self.copies.setdefault(line["copy"], []).append(_identity(line["identity"]))
        self.undoing = self.undoing or "undoing" in line
        self.cleared = self.cleared or line.get("ended") == "undone"

    def note(self, line: dict[str, Any], *, durably: bool = False) -> None:
        """Append a line, and wait until it is on the disk where that matters."""
        assert self.file is not None
        self.take(line)
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        if durably:
            os.fsync(self.file.fileno())

    def temporary(self, number: int, folder: Path) -> Path:
        """The name under which a step's copy is made."""
        return folder / f".{self.id}-{number}.part"


def journals(folder: Path, verb: str = "*") -> list[Path]:
    """The journals that are kept beside the files of a folder, of one verb (sort, fix) or of all; the oldest first."""
    return sorted((folder / SHELF).glob(f"{verb}-*.journal"), key=lambda path: (_number(path), path.name))


def next_journal(folder: Path, verb: str) -> Path:
    """Where the next journal of a folder goes."""
    return folder / SHELF / f"{verb}-{1 + max(map(_number, journals(folder)), default=0)}.journal"


def _number(path: Path) -> int:
    number = path.stem.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def write_ledger(path: Path, steps: Sequence[Step], identities: Sequence[Identity], about: str) -> None:
    """Write the plan, which appears whole or not at all."""
    folders: dict[str, None] = {}
    for parent in dict.fromkeys(step.target.parent for step in steps):
        missing = [os.fspath(folder) for folder in (parent, *parent.parents) if not folder.exists()]
        folders.update(dict.fromkeys(reversed(missing)))
    head = {
        "shoebox_journal": FORMAT,
        "id": secrets.token_hex(6),
        "about": about,
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "folders": list(folders),
        "steps": len(steps),
    }
    with atomic_write(path, "w") as file:
        file.write(json.dumps(head) + "\n")
        for step, found in zip(steps, identities, strict=True):
            row = {"operation": step.operation, "source": os.fspath(step.source), "target": os.fspath(step.target)}
            file.write(json.dumps({**row, "identity": found}) + "\n")


def read_ledger(path: Path) -> Ledger:
    """Read a journal's file.

    Raises:
        UsageError: there is none, it is not a journal, or a newer Shoebox wrote it.
    """
    try:
        head, *lines = path.read_text(encoding="utf-8").split("\n")
        start = json.loads(head)
        if start["shoebox_journal"] > FORMAT:
            raise UsageError(f"{path} was written by a newer Shoebox: update Shoebox")
        rows = [json.loads(line) for line in lines[: start["steps"]]]
        ledger = Ledger(
            path,
            start["id"],
            start["about"],
            start["folders"],
            [Step(_operation(row["operation"]), Path(row["source"]), Path(row["target"])) for row in rows],
            [_identity(row["identity"]) for row in rows],
        )
    except OSError as e:
        raise UsageError(f"{path}: no journal can be read there ({e.strerror})") from None
    except (ValueError, KeyError, TypeError) as e:
        raise UsageError(f"{path} is not a journal of Shoebox's, or is damaged") from e
    for line in lines[len(rows) :]:
        with contextlib.suppress(ValueError):  # half a line
            ledger.take(json.loads(line))
    return ledger


def _identity(values: Sequence[int]) -> Identity:
    number, size, changed = values
    return int(number), int(size), int(changed)


def _operation(word: str) -> Operation:
    known: Operation
    for known in get_args(Operation):
        if word == known:
            return known
    raise ValueError(f"no operation is called {word!r}")
