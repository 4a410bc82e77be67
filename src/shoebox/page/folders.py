"""The folders of pictures that a server may work on: those below the one it was started with, by number.

In: that folder. Out: the data sets in it, with what a check has found in each and what was decided.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.ledger import SHELF
from shoebox.base.tables import harmless, speakable
from shoebox.data.check import read_report
from shoebox.data.names import is_junk, part_of
from shoebox.data.patch import NAME, read_patch


@dataclass(frozen=True)
class Folder:
    """A data set that may be worked on.

    Attributes:
        number: by which the page names it.
        root: where it lies.
        name: for a person.
    """

    number: int
    root: Path
    name: str

    @property
    def table(self) -> Path:
        """The rows that a check found; its folder is passed over by whoever reads the pictures."""
        return self.root / SHELF / "check.csv"

    @property
    def page(self) -> Path:
        """The same as a page."""
        return self.root / SHELF / "check.html"

    @property
    def patch(self) -> Path:
        """The decisions about its labels."""
        return self.root / NAME

    def about(self) -> dict[str, Any]:
        """number, name, suspects and decided (numbers; None before a check), page (whether there is one)."""
        suspects, decided = None, 0
        with contextlib.suppress(ShoeboxError):
            if self.table.is_file():
                named = {row["path"] for row in read_report(self.table) if row["suggested"]}
                suspects = len(named)
                decided = len(named & {str(harmless(path)) for path in read_patch(self.patch)})
        facts = {"number": self.number, "name": speakable(self.name), "page": self.page.is_file()}
        return {**facts, "suspects": suspects, "decided": decided}


def folders(root: Path | None) -> tuple[Folder, ...]:
    """The data sets that a folder is or holds.

    One that holds folders of classes is a data set itself. One whose folders do so each holds several; it comes last
    then, as the set of all.

    Raises:
        UsageError: there is no such folder.
    """
    if root is None:
        return ()
    if not root.is_dir():
        raise UsageError(f"--data {root}: there is no such folder")
    root = root.resolve()
    below = [child for child in _children(root) if part_of(child.name) is None and len(_children(child)) > 1]
    found = [*((child, f"{root.name}/{child.name}") for child in below), (root, root.name or str(root))]
    return tuple(Folder(number, place, name) for number, (place, name) in enumerate(found))


def _children(folder: Path) -> list[Path]:
    """The folders within one, by name; links are not followed."""
    try:
        with os.scandir(folder) as entries:
            found = [e.name for e in entries if e.is_dir(follow_symlinks=False) and not is_junk(e.name)]
    except OSError:
        return []
    return [folder / name for name in sorted(found)]
