"""The stream: pictures decoded when they are asked for, for data sets whose pack would not fit the disk.

The same interface as a Pack, and the same bytes; only slower. A file that has become unreadable since it was last
looked at is replaced by another picture with the same label, and listed.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import ShoeboxError
from shoebox.base.progress import QUIET, Progress
from shoebox.data.index import ImageIndex, Skipped
from shoebox.data.names import one_line
from shoebox.data.picture import Unreadable, load
from shoebox.data.prefetch import prefetch
from shoebox.data.preprocess import Preprocess

STANDINS = 10  # pictures to try in a lost one's place; so many lost at once is a folder that has gone


class Stream:
    """Pictures decoded on demand, in threads.

    Attributes:
        index: the rows that `gather` takes; all were readable when the stream was opened.
        preprocess: what every picture went through.
        skipped: the unreadable files of the index it was opened with; grows when files are lost later.
    """

    def __init__(
        self,
        index: ImageIndex,
        preprocess: Preprocess,
        skipped: Sequence[Skipped] = (),
        *,
        threads: int | None = None,
        progress: Progress = QUIET,
    ) -> None:
        self.index = index
        self.preprocess = preprocess
        self.skipped = tuple(skipped)
        self._threads = threads or processors()
        self._progress = progress
        self._noting = Lock()
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="stream")

    def __len__(self) -> int:
        return len(self.index)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The pictures of these rows.

        Args:
            rows: (n,) int64.

        Returns:
            (n,S,S,3) uint8, the caller's own.

        Raises:
            ShoeboxError: a file has become unreadable, and so have those that could stand in for it.
        """
        side = self.preprocess.store
        pictures = np.empty((len(rows), side, side, 3), np.uint8)

        def fill(places: NDArray[np.int64]) -> None:
            prefetch([self.index.file(row) for row in rows[places].tolist()])
            for place in places.tolist():
                pictures[place] = self._load(int(rows[place]))

        # several shares a thread, since pictures differ in cost
        shares = np.array_split(np.arange(len(rows)), 4 * self._threads)
        for _ in self._pool.map(fill, shares):
            pass
        return pictures

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _load(self, row: int) -> NDArray[np.uint8]:
        for candidate in self._candidates(row):
            try:
                return load(self.index.file(candidate), self.preprocess)
            except Unreadable as e:
                self._note(candidate, e.reason)
        raise ShoeboxError(
            f"{one_line(self.index.file(row))} can no longer be read, nor can {STANDINS} others of its class: "
            f"is {one_line(self.index.root)} still there?"
        )

    def _candidates(self, row: int) -> Iterator[int]:
        yield row
        alike = np.flatnonzero(self.index.labels == self.index.labels[row])
        after = np.roll(alike, -int(np.searchsorted(alike, row)) - 1)
        yield from after[: min(STANDINS, len(alike) - 1)].tolist()

    def _note(self, row: int, reason: str) -> None:
        lost = Skipped(self.index.paths[row], reason)
        with self._noting:
            if lost not in self.skipped:
                self.skipped += (lost,)
                self._progress.say(f"{lost}; another picture with its label takes its place")


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
