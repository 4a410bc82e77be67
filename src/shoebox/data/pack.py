"""The pack: every picture of an index decoded once, into one memory-mapped file of bytes.

In: an ImageIndex and a Preprocess. Out: a Pack, whose `gather` copies pictures at the speed of memory; or, where a pack
would not fit the disk, a Stream with the same interface that decodes them anew each time.

A pack is found again by its key: the files' names, sizes, times of change and permissions, the Preprocess as far as it
makes stored pixels (not `size`, `mean`, `std`), the decoders' versions, and the layout. Labels and parts are not in it,
so relabelling and splitting anew decode nothing. A picture whose checksum is wrong is decoded again.
"""

import math
import mmap
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import ShoeboxError
from shoebox.base.progress import QUIET, Progress
from shoebox.data.cache import Cached, Entry, Meta, caches, clear, packs_folder, room, sweep
from shoebox.data.index import ImageIndex, Skipped
from shoebox.data.names import one_line
from shoebox.data.packing import Packing
from shoebox.data.picture import Unreadable, load
from shoebox.data.preprocess import Preprocess
from shoebox.data.stream import Stream, processors

__all__ = ["Cached", "Pack", "Stream", "caches", "clear", "pack"]

CHECK_AT_ONCE = 1 << 30  # bytes; a smaller pack is checked whole when opened (0.4 s/GB), a larger one as it is read

LET_GO = 1.0
"""Seconds after which a pack's pages are let go of once more. Fetching them back takes 2 µs a picture."""


class Pack:
    """Decoded pictures in a memory-mapped file.

    Attributes:
        index: the rows that `gather` takes: those of the index packed whose files were readable.
        preprocess: what every picture went through.
        skipped: the unreadable files, each with its reason.
        key: names the stored pixels; whoever computes anything from them keeps it under this.
        count: how many pictures are stored, those outside `index` included.
        numbers: (N,) int64, the place among them of each row.

    Args:
        index: what was packed.
        preprocess: with what.
        entry: where the pack lies.
        meta: what it says of itself.
        names: (N,) the paths of its pictures, in the pack's order.
        checked: nothing is to be held against the checksums, since they were made just now.

    Raises:
        OSError: the pack cannot be read, or is damaged and cannot be mended.
    """

    def __init__(
        self,
        index: ImageIndex,
        preprocess: Preprocess,
        entry: Entry,
        meta: Meta,
        names: Sequence[str],
        *,
        checked: bool = False,
    ) -> None:
        self.preprocess = preprocess
        self._root, self._entry, self._meta, self._names = index.root, entry, meta, names
        shape = (meta.count, meta.side, meta.side, 3)
        self._mapping: mmap.mmap | None = None
        if meta.count:  # no file of no bytes can be mapped
            with entry.pictures.open("rb") as file:
                self._mapping = mmap.mmap(file.fileno(), math.prod(shape), access=mmap.ACCESS_READ)
        self._pictures: NDArray[np.uint8] = np.frombuffer(self._mapping or b"", np.uint8).reshape(shape)
        self._last = time.monotonic()
        self._checksums = entry.checksums()
        self._unchecked = np.full(meta.count, not checked)
        self._unchecked[list(meta.unreadable)] = False
        if self._pictures.nbytes < CHECK_AT_ONCE:
            self._check(np.flatnonzero(self._unchecked))
        entry.touch()

        number = {name: i for i, name in enumerate(names)}
        numbers = np.array([number[path] for path in index.paths], np.int64)
        self.index, self.skipped, readable = without(index, {names[i]: r for i, r in self._meta.unreadable.items()})
        self.key, self.count, self.numbers = entry.folder.name, meta.count, numbers[readable]

    def __len__(self) -> int:
        return len(self.index)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The pictures of these rows.

        Args:
            rows: (n,) int64.

        Returns:
            (n,S,S,3) uint8, the caller's own.

        Raises:
            ShoeboxError: a picture is damaged in the pack, and its file can no longer be read.
        """
        numbers = self.numbers[rows]
        fresh = numbers[self._unchecked[numbers]]
        if len(fresh):
            try:
                lost = self._check(fresh)
            except OSError as e:
                lost = {int(fresh[0]): f"its pack cannot be mended ({e.strerror})"}
            for i, reason in lost.items():
                raise ShoeboxError(
                    f"{one_line(self._names[i])} is damaged in {self._entry.folder}, and decoding it again failed "
                    f"({reason}): clear the cache (shoebox cache --clear) and look at the file"
                )
        pictures = self._pictures[numbers]
        self._let_go()
        return pictures

    @property
    def folder(self) -> Path:
        """Where the pack lies."""
        return self._entry.folder

    def close(self) -> None:
        """Let go of the file."""
        self._pictures, self._mapping = np.empty((0, *self._pictures.shape[1:]), np.uint8), None

    def _let_go(self) -> None:
        """Now and then leave what was read to the system's cache, which gives it up where memory is short: else a pass
        over the pack has all of it count as this process's memory."""
        mapping = self._mapping  # another thread may close the pack meanwhile
        if mapping and time.monotonic() - self._last > LET_GO and hasattr(mmap, "MADV_DONTNEED"):
            mapping.madvise(mmap.MADV_DONTNEED)
            self._last = time.monotonic()

    def _check(self, numbers: NDArray[np.int64]) -> dict[int, str]:
        """Hold pictures against their checksums and decode the damaged ones again. Returns those that failed to."""
        sums = [zlib.crc32(self._pictures[i]) for i in numbers]
        self._unchecked[numbers] = False
        damaged = numbers[self._checksums[numbers] != np.array(sums, np.uint32)]
        if not len(damaged):
            return {}
        lost = {}
        with self._entry.pictures.open("r+b") as file:
            for i in damaged.tolist():
                try:
                    picture = load(self._root / self._names[i], self.preprocess)
                except Unreadable as e:
                    lost[i] = e.reason
                    continue
                file.seek(i * picture.nbytes)
                file.write(picture.data)
                self._checksums[i] = zlib.crc32(picture.data)
        self._meta = replace(self._meta, unreadable=self._meta.unreadable | lost)
        self._entry.write(self._meta, self._checksums)
        self._unchecked[list(lost)] = True
        return lost


def pack(
    index: ImageIndex,
    preprocess: Preprocess,
    *,
    cache: Path | None = None,
    budget_bytes: int | None = None,
    threads: int | None = None,
    progress: Progress = QUIET,
) -> Pack | Stream:
    """Open the pack of an index, making it first if there is none.

    Args:
        index: the pictures; files listed twice are stored once. Where it has stamps, its files are taken to be as these
            say.
        preprocess: what to make of each; `store`, `fit` and `interpolation` matter here.
        cache: the cache folder, if not the usual one.
        budget_bytes: the most that the pictures may take; half of the disk's free space, and all but 1 GiB, if None.
        threads: how many pictures to decode at a time; as many as there are processors if None.
        progress: what is told.

    Returns:
        A Pack; or, if that would not fit or cannot be written, a Stream, which `progress` is told. Every file has then
        been read once as well, so that both know what is unreadable.
    """
    rows = {path: row for row, path in enumerate(index.paths)}
    names = sorted(rows)
    stamps = index.known_stamps()[[rows[name] for name in names]]
    packing = Packing(index.root, names, stamps, preprocess, threads or processors(), progress)
    needed = 3 * len(names) * preprocess.store**2
    packs = None
    try:
        packs = packs_folder(cache)
        sweep(packs)
        entry = packing.entry(packs)
        limit = room(packs) if budget_bytes is None else budget_bytes
        if (meta := entry.read()) is not None:
            return Pack(index, preprocess, entry, meta, names)
        if needed <= limit:
            return Pack(index, preprocess, entry, packing.make(packs), names, checked=True)
        why = f"a pack of {needed / 1e9:,.3f} GB is more than the {limit / 1e9:,.3f} GB it may take"
    except OSError as e:
        why = f"no pack can be kept ({e})"
    progress.say(f"{why}: the pictures are decoded anew in every epoch, which is slower")
    unreadable = packing.survey(packs)
    left, skipped, _ = without(index, {names[i]: reason for i, reason in unreadable.items()})
    return Stream(left, preprocess, skipped, threads=threads, progress=progress)


def without(
    index: ImageIndex, unreadable: Mapping[str, str]
) -> tuple[ImageIndex, tuple[Skipped, ...], NDArray[np.bool_]]:
    """Take unreadable files (path → reason) out of an index: what is left, what was taken out, and (N,) whether a row
    is left.
    """
    readable = np.array([path not in unreadable for path in index.paths], bool)
    skipped = tuple(Skipped(path, unreadable[path]) for path in sorted(unreadable))
    return index if readable.all() else index.take(readable), skipped, readable
