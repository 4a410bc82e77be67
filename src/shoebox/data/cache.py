"""Where packs are kept, and how: `<cache>/packs/<key>/`.

    pictures.u8    N·S·S·3 bytes, picture after picture
    checksums.u32  N CRC-32s
    meta.json      what it is, written last
    kin.npz        which pictures belong together, once that was asked (`shoebox.data.kin`)

A pack is made in a folder of another name and renamed when complete, so a key's folder is complete or absent. Folders
left by a packing that was killed are removed by the next one.
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoebox.base.files import atomic_write, cache_folder

LAYOUT = 1  # to be raised when anything about the files or the meaning of their bytes changes
KEY = re.compile(r"[0-9a-f]{40}")
MAKING = ".making-"
ABANDONED = 600.0  # seconds without a write; one that is alive writes at least every 30 (decoders.PATIENCE)
KIN = "kin.npz"
NAMES = ("pictures.u8", "checksums.u32", "meta.json", KIN)


@dataclass(frozen=True)
class Meta:
    """What a pack holds.

    Attributes:
        root: the data set's folder.
        count, side: N and S.
        unreadable: number of the file in the pack → why it could not be read.
        survey: there are no pictures, only what was learnt of the files (for a set too large to be packed).
        layout: the version of all this.
    """

    root: str
    count: int
    side: int
    unreadable: dict[int, str]
    survey: bool = False
    layout: int = LAYOUT


@dataclass(frozen=True)
class Entry:
    """A pack on disk.

    Attributes:
        folder: its folder.
    """

    folder: Path

    @property
    def pictures(self) -> Path:
        """The pictures' bytes."""
        return self.folder / "pictures.u8"

    def checksums(self) -> NDArray[np.uint32]:
        """(N,) as stored."""
        return np.fromfile(self.folder / "checksums.u32", np.uint32)

    def write(self, meta: Meta, checksums: NDArray[np.uint32]) -> None:
        """Store everything but the pictures.

        Raises:
            OSError: they cannot be written; what was there still is.
        """
        with atomic_write(self.folder / "checksums.u32") as file:
            file.write(checksums.tobytes())
        with atomic_write(self.folder / "meta.json", "w") as file:
            json.dump(asdict(meta), file)

    def read(self) -> Meta | None:
        """The description, or None where there is no pack or not all of it."""
        try:
            values: dict[str, Any] = json.loads((self.folder / "meta.json").read_text(encoding="utf-8"))
            values["unreadable"] = {int(number): str(reason) for number, reason in values["unreadable"].items()}
            meta = Meta(**values)
            sizes = {"checksums.u32": 4 * meta.count}
            if not meta.survey:
                sizes["pictures.u8"] = 3 * meta.count * meta.side**2
            whole = all((self.folder / name).stat().st_size == size for name, size in sizes.items())
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None  # absent, or damaged in any way JSON can be
        return meta if whole and meta.layout == LAYOUT else None

    def touch(self) -> None:
        """Note that it was used now. A cache that may only be read keeps no such notes."""
        with contextlib.suppress(OSError):
            os.utime(self.folder / "meta.json")


@dataclass(frozen=True)
class Cached:
    """A pack, as `shoebox cache` lists it.

    Attributes:
        key: its name in the cache.
        root: the data set's folder.
        count: how many pictures.
        side: of a picture, in pixels.
        bytes: on disk.
        used: when it was last opened, in seconds since 1970.
    """

    key: str
    root: str
    count: int
    side: int
    bytes: int
    used: float


def packs_folder(cache: Path | None) -> Path:
    """Where packs are kept; made if missing."""
    folder = cache_folder(cache) / "packs"
    folder.mkdir(exist_ok=True)
    return folder


def new_folder(packs: Path) -> Path:
    """A folder to make a pack in."""
    return Path(tempfile.mkdtemp(prefix=MAKING, dir=packs))


def publish(made: Path, final: Path) -> None:
    """Give a finished folder its name. If another process was first, its pack stays and this one is removed.

    Raises:
        OSError: it cannot be renamed.
    """
    if Entry(final).read() is None:
        remove(final)  # damaged beyond what checksums could repair, or of another layout
    try:
        made.rename(final)
    except OSError:
        remove(made)
        if Entry(final).read() is None:
            raise


def caches(cache: Path | None = None) -> list[Cached]:
    """The packs there are, the one used last first.

    Args:
        cache: the cache folder, if not the usual one.
    """
    found = []
    for folder in _folders(cache):
        meta = Entry(folder).read() if KEY.fullmatch(folder.name) else None
        if meta is not None:
            used = (folder / "meta.json").stat().st_mtime
            found.append(Cached(folder.name, meta.root, meta.count, meta.side, _size(folder), used))
    return sorted(found, key=lambda entry: -entry.used)


def clear(cache: Path | None = None, *, older_than: float | None = None) -> int:
    """Remove packs, and what killed packings have left. Links are never followed, and other people's files stay.

    Args:
        cache: the cache folder, if not the usual one.
        older_than: only those not used for this many seconds.

    Returns:
        How many bytes were freed.
    """
    freed = 0
    for folder in _folders(cache):
        limit = ABANDONED if folder.name.startswith(MAKING) else older_than
        if limit is None or _age(folder) > limit:
            freed += remove(folder)
    return freed


def sweep(packs: Path) -> None:
    """Remove what killed packings have left."""
    for folder in _folders(packs.parent):
        if folder.name.startswith(MAKING) and _age(folder) > ABANDONED:
            with contextlib.suppress(OSError):  # a cache that may only be read serves as well
                remove(folder)


def remove(folder: Path) -> int:
    """Remove the files of a pack, and its folder if nothing else is in it. Returns the bytes freed."""
    freed = 0
    for path in _ours(folder):
        with contextlib.suppress(FileNotFoundError):  # another process is removing it as well
            size = path.lstat().st_size
            path.unlink()
            freed += size
    with contextlib.suppress(OSError):  # absent already, or somebody keeps a file in it
        folder.rmdir()
    return freed


def room(packs: Path) -> int:
    """The most bytes that a pack may take: half of the disk's free space, and all but 1 GiB of it."""
    free = shutil.disk_usage(packs).free
    return max(0, min(free // 2, free - (1 << 30)))


def _folders(cache: Path | None) -> list[Path]:
    """Folders of packs, finished or not; no links."""
    packs = cache_folder(cache) / "packs"
    if not packs.is_dir():
        return []
    return [
        path
        for path in packs.iterdir()
        if (KEY.fullmatch(path.name) or path.name.startswith(MAKING)) and path.is_dir() and not path.is_symlink()
    ]


def _ours(folder: Path) -> list[Path]:
    """The files in a pack's folder that Shoebox wrote, the temporary ones of an atomic write included."""
    if not folder.is_dir() or folder.is_symlink():
        return []
    return [
        path
        for path in folder.iterdir()
        if any(path.name == name or (path.name.startswith(f".{name}.") and path.suffix == ".tmp") for name in NAMES)
    ]


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in _ours(folder))


def _age(folder: Path) -> float:
    """Seconds since anything in it was written or, for a pack, used."""
    try:
        newest = max(path.lstat().st_mtime for path in (folder, *_ours(folder)))
    except OSError:
        return 0.0  # another process is removing it
    return time.time() - newest
