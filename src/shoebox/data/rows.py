"""Rows: numbers computed once a picture and kept, memory-mapped: `<cache>/rows/<key>/`.

    values.f16     N rows of float16
    checksums.u32  N CRC-32s; 0 where the row is not known (yet)
    meta.json      what it is

In: a key that says everything the numbers depend on. Out: a table that can be filled in any order and found again by
another process. A row whose checksum is wrong counts as unknown, so a killed writer or a failing disk costs time only.
"""

import contextlib
import json
import re
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoebox.base.files import atomic_write, cache_folder
from shoebox.data.cache import room

KEY = re.compile(r"[0-9a-f]{40}")
NAMES = ("values.f16", "checksums.u32", "meta.json")


class Rows:
    """A table of float16, (N, *shape), some of whose rows are known.

    Args:
        values: (N, *shape) float16, memory-mapped or not.
        checksums: (N,) uint32.
        folder: where it is kept; None: in memory only.
    """

    def __init__(self, values: NDArray[np.float16], checksums: NDArray[np.uint32], folder: Path | None) -> None:
        self._values, self._checksums, self._folder = values, checksums, folder
        sums = [zlib.crc32(values[i]) for i in np.flatnonzero(checksums).tolist()]
        self.known: NDArray[np.bool_] = checksums != 0
        self.known[self.known] = checksums[checksums != 0] == np.array(sums, np.uint32)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return self._values.shape[1:]

    def gather(self, numbers: NDArray[np.int64]) -> NDArray[np.float16]:
        """(n, *shape), the caller's own."""
        return self._values[numbers]

    def put(self, numbers: NDArray[np.int64], values: NDArray[np.float16]) -> None:
        """Fill in rows; others find them after `keep`."""
        self._values[numbers] = values
        self._checksums[numbers] = [zlib.crc32(row) for row in np.ascontiguousarray(values)]
        self.known[numbers] = True

    def keep(self) -> None:
        """Make what has been put known to later processes; a disk that is full is no reason to stop."""
        if self._folder is not None:
            with contextlib.suppress(OSError), atomic_write(self._folder / "checksums.u32") as file:
                file.write(self._checksums.tobytes())


def open_rows(key: str, count: int, shape: Sequence[int], *, about: str, cache: Path | None = None) -> Rows:
    """The table of a key, as far as it is known; in memory only where the disk has no room or cannot be written.

    Args:
        key: 40 hexadecimal digits.
        count, shape: of the table.
        about: what it holds, for those who list the cache.
    """
    full = (count, *shape)
    size = 2 * int(np.prod(full))
    try:
        folder = cache_folder(cache) / "rows" / key
        folder.mkdir(parents=True, exist_ok=True)
        values, sums = folder / "values.f16", folder / "checksums.u32"
        if not values.is_file() or values.stat().st_size != size:
            if size > room(folder):
                raise OSError("no room")
            sums.unlink(missing_ok=True)
            with values.open("wb") as file:
                file.truncate(size)
        with atomic_write(folder / "meta.json", "w") as file:
            json.dump({"about": about, "count": count, "shape": list(shape)}, file)
        checksums = np.fromfile(sums, np.uint32) if sums.is_file() else np.zeros(count, np.uint32)
        mapped = np.memmap(values, np.float16, "r+", shape=full) if size else np.empty(full, np.float16)
        checksums = checksums if len(checksums) == count else np.zeros(count, np.uint32)
        return Rows(mapped.view(np.ndarray), checksums, folder)
    except OSError:
        return Rows(np.empty(full, np.float16), np.zeros(count, np.uint32), None)


def known_rows(key: str, count: int, *, cache: Path | None = None) -> NDArray[np.bool_]:
    """(N,) which rows of a key's table are said to be known; nothing is made or checked."""
    sums = cache_folder(cache) / "rows" / key / "checksums.u32"
    try:
        checksums = np.fromfile(sums, np.uint32)
    except OSError:
        checksums = np.zeros(0, np.uint32)
    return checksums != 0 if len(checksums) == count else np.zeros(count, bool)


@dataclass(frozen=True)
class KeptRows:
    """A table on disk.

    Attributes:
        about: what it holds.
        count: rows.
        bytes: what it takes.
        used: when it was last opened, seconds since 1970.
    """

    key: str
    about: str
    count: int
    bytes: int
    used: float


def kept_rows(cache: Path | None = None) -> list[KeptRows]:
    """The tables there are, the one used last first."""
    found = []
    for folder in _folders(cache):
        with contextlib.suppress(OSError, ValueError, KeyError):
            meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
            used = (folder / "meta.json").stat().st_mtime
            found.append(KeptRows(folder.name, meta["about"], meta["count"], _size(folder), used))
    return sorted(found, key=lambda rows: -rows.used)


def clear_rows(cache: Path | None = None) -> int:
    """Remove all tables. Returns the bytes freed."""
    freed = 0
    for folder in _folders(cache):
        freed += _size(folder)
        shutil.rmtree(folder, ignore_errors=True)
    return freed


def _folders(cache: Path | None) -> list[Path]:
    parent = cache_folder(cache) / "rows"
    if not parent.is_dir():
        return []
    return [path for path in parent.iterdir() if KEY.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]


def _size(folder: Path) -> int:
    return sum((folder / name).stat().st_size for name in NAMES if (folder / name).is_file())
