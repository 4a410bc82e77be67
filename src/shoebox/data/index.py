"""ImageIndex: which pictures there are, what each shows, and which part it belongs to. No pixels.

In: rows from a source (`shoebox.data.sources`). Out: selections of rows, and a fingerprint that changes when they do.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.data.names import one_line

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("train", "val", "test", "pile")
UNLABELLED = -1
GONE = -1


@dataclass(frozen=True)
class Skipped:
    """A file or folder that was not taken.

    Attributes:
        path: relative to the root of its index, or absolute; as the file system gives it, so escape it to show it.
        reason: why, on one line.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{one_line(self.path)}: {self.reason}"


@dataclass(frozen=True, eq=False)
class ImageIndex:
    """Pictures, their classes and their parts.

    Attributes:
        root: what relative paths are relative to.
        paths: N files, relative to `root` with `/` between folders, or absolute; `os.fsdecode` form, so a name that is
            no UTF-8 comes back as its own bytes.
        labels: (N,) int64, positions in `classes`; -1 where there is no label.
        classes: the names, each once. Every class keeps its position, even one without a picture.
        part: (N,) str, each from `PARTS`, or "" where the split is still to be made.
        skipped: what was found and not taken.
        ignored: how many hidden and junk files were passed over (.DS_Store, Thumbs.db, …).
        warnings: what a person should know about these data, one line each.
        stamps: (N, 3) of the files, as `stamp_files` gives it, once they were asked for; None before.
    """

    root: Path
    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    part: NDArray[np.str_]
    skipped: tuple[Skipped, ...] = ()
    ignored: int = 0
    warnings: tuple[str, ...] = ()
    stamps: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        count = len(self.paths)
        if self.labels.shape != (count,) or self.part.shape != (count,):
            raise ValueError(f"{count} paths, but labels of {self.labels.shape} and parts of {self.part.shape}")
        if self.stamps is not None and self.stamps.shape != (count, 3):
            raise ValueError(f"{count} paths, but stamps of {self.stamps.shape}")
        if count and (self.labels.min() < UNLABELLED or self.labels.max() >= len(self.classes)):
            raise ValueError(f"labels lie outside -1 … {len(self.classes) - 1}")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("a class is named twice")

    def __len__(self) -> int:
        return len(self.paths)

    def file(self, row: int) -> Path:
        """Where the picture of one row lies."""
        return self.root / self.paths[row]

    def stamped(self) -> "ImageIndex":
        """The same rows, with the stamps of their files as they are now."""
        return replace(self, stamps=stamp_files(located(self.root, self.paths)))

    def known_stamps(self) -> NDArray[np.int64]:
        """(N, 3) the stamps that it has, or else those of the files as they are now."""
        return stamp_files(located(self.root, self.paths)) if self.stamps is None else self.stamps

    def take(self, rows: NDArray[Any] | Sequence[int]) -> "ImageIndex":
        """Some rows, in the order given: positions, or a mask of N booleans. Classes and notes stay."""
        chosen = np.arange(len(self))[np.asarray(rows, dtype=None if len(rows) else np.int64)]
        return replace(
            self,
            paths=tuple(self.paths[i] for i in chosen.tolist()),
            labels=self.labels[chosen],
            part=self.part[chosen],
            stamps=None if self.stamps is None else self.stamps[chosen],
        )

    def only(self, *parts: str) -> "ImageIndex":
        """The rows of the named parts, in their order.

        Raises:
            UsageError: there is no such part.
        """
        for part in parts:
            if part not in (*PARTS, ""):
                raise UsageError(f"no part is called {part!r}: choose from {', '.join(PARTS)}")
        return self.take(np.isin(self.part, parts))

    def with_part(self, part: NDArray[np.str_]) -> "ImageIndex":
        """The same rows with other parts, (N,) str."""
        return replace(self, part=part)

    def with_warnings(self, *warnings: str) -> "ImageIndex":
        """The same rows with more to say about them."""
        return replace(self, warnings=(*self.warnings, *warnings))

    def relabelled_to(self, classes: Sequence[str]) -> "ImageIndex":
        """The same rows with the labels of another list of classes, matched by name.

        Raises:
            UsageError: a picture's class is not in `classes`; the message names it.
        """
        position = {name: i for i, name in enumerate(classes)}
        table = np.array([*(position.get(name, UNLABELLED) for name in self.classes), UNLABELLED], dtype=np.int64)
        labels = table[self.labels]
        lost = np.unique(self.labels[(labels == UNLABELLED) & (self.labels != UNLABELLED)])
        if len(lost):
            names = listed([self.classes[i] for i in lost])
            raise UsageError(
                f"{one_line(self.root)} has pictures of {names}, which the classifier does not know: "
                f"its classes are {listed(classes)}"
            )
        return replace(self, labels=labels, classes=tuple(classes))

    def require_classes(self, least: int) -> None:
        """Make sure that there are enough classes with pictures to tell apart.

        Raises:
            ShoeboxError: there are fewer than `least`.
        """
        present = np.unique(self.labels[self.labels != UNLABELLED])
        if len(present) < least:
            found = listed([self.classes[i] for i in present]) if len(present) else "none"
            raise ShoeboxError(
                f"{one_line(self.root)} has pictures of {len(present)} "
                f"{'class' if len(present) == 1 else 'classes'} ({found}): "
                f"at least {least} are needed, a folder of pictures for each"
            )

    def counts(self) -> "pd.DataFrame":
        """How many pictures each class (row; the last is "" for no label, if any) has in each part that occurs."""
        import pandas as pd

        parts = [part for part in ("", *PARTS) if (self.part == part).any()]
        rows = (
            np.stack(
                [np.bincount(self.labels[self.part == part] + 1, minlength=len(self.classes) + 1) for part in parts],
                axis=1,
            )
            if parts
            else np.zeros((len(self.classes) + 1, 0), dtype=np.int64)
        )
        names = list(self.classes)
        if (self.labels == UNLABELLED).any():
            rows, names = np.roll(rows, -1, axis=0), [*names, ""]
        else:
            rows = rows[1:]
        # As objects: pandas's own strings cannot hold a name that is not UTF-8.
        table: pd.DataFrame = pd.DataFrame(
            rows, index=pd.Index(names, dtype=object, name="class"), columns=[p or "undecided" for p in parts]
        )
        return table

    def fingerprint(self) -> str:
        """32 hex digits that change when a row, a class, or a file's size or time of change does; rows in any order.

        The root is left out, so a data set keeps its fingerprint when it moves. A file that is gone counts as such.
        Where the index has stamps, of the files as they were then.
        """
        digest = hashlib.blake2b(digest_size=16)
        digest.update("\0".join(self.classes).encode("utf-8", "surrogateescape"))
        labels, parts, stamps = self.labels.tolist(), self.part.tolist(), as_text(self.known_stamps()[:, :2])
        for i in sorted(range(len(self)), key=self.paths.__getitem__):
            digest.update(os.fsencode(f"\0{self.paths[i]}\0{stamps[i]},{labels[i]},{parts[i]}"))
        return digest.hexdigest()


def located(root: Path, paths: Sequence[str]) -> list[str]:
    """Where the files of an index lie: its paths are relative to `root`, or absolute."""
    folder = os.fspath(root)
    return [os.path.join(folder, path) for path in paths]  # noqa: PTH118 (of 60,000 files a Path costs more than asking)


def stamp_files(files: Sequence[str]) -> NDArray[np.int64]:
    """What tells whether files have changed.

    Returns:
        (N, 3) the size of each in bytes, its time of change in ns since 1970 (of years from 1677 to 2262, which those
        beyond are taken for), its permissions; thrice `GONE` where it is gone, or out of reach.
    """
    stamps = []
    for file in files:
        try:
            status = os.stat(file)  # noqa: PTH116
            changed = min(max(status.st_mtime_ns, -(2**63)), 2**63 - 1)
            stamps.append((status.st_size, changed, status.st_mode))
        except OSError:
            stamps.append((GONE, GONE, GONE))
    return np.array(stamps, np.int64).reshape(-1, 3)


def as_text(stamps: NDArray[np.int64]) -> list[str]:
    """Stamps, or their first columns, as keys and fingerprints have them."""
    return ["gone" if stamp[0] == GONE else ",".join(map(str, stamp)) for stamp in stamps.tolist()]


def listed(names: Sequence[str], most: int = 5) -> str:
    """Some names for a message: 'cat', 'dog' and 12 more."""
    shown = ", ".join(f"'{one_line(name)}'" for name in names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown
