"""Pictures decoded ahead of the work on them: any number of files through a bounded number of threads.

In: files, bytes or arrays, and a function of a batch of stored pictures. Out: what it gave for each, in order. While
one chunk is worked on others are being decoded, and never more than a few chunks are in memory.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from shoebox.data.picture import Unreadable, load
from shoebox.data.prefetch import prefetch
from shoebox.data.preprocess import Preprocess
from shoebox.data.stream import processors

Item = TypeVar("Item", bound="str | Path | bytes | NDArray[np.uint8]")

CHUNK_BYTES = 64 << 20
"""The most that a chunk of decoded pictures takes; a larger picture is a chunk of its own."""


def work_through(
    items: Iterable[Item],
    preprocess: Preprocess,
    work: Callable[[NDArray[np.uint8]], NDArray[Any]],
    *,
    chunk: int = 64,
    workers: int = 1,
) -> Iterator[tuple[Item, NDArray[Any] | Unreadable]]:
    """Decode every item and give it to `work`, a chunk at a time.

    Args:
        items: taken as they are needed, a few chunks ahead.
        preprocess: how each becomes (S, S, 3) uint8.
        work: from (n, S, S, 3) uint8, n ≥ 1, to n rows; called in threads.
        chunk: how many pictures `work` gets at a time, at most.
        workers: in how many threads `work` may run at once.

    Yields:
        each item, in order, with its row, or with why it could not be decoded.
    """
    waiting = iter(items)
    chunk = max(1, min(chunk, CHUNK_BYTES // (3 * preprocess.store**2)))
    threads = max(workers, processors()) + 1
    turns = BoundedSemaphore(workers)

    def do(batch: list[Item]) -> list[tuple[Item, NDArray[Any] | Unreadable]]:
        prefetch([item for item in batch if isinstance(item, str | Path)])
        loaded = [_load(item, preprocess) for item in batch]
        pictures = [pixels for pixels in loaded if not isinstance(pixels, Unreadable)]
        rows: Iterator[NDArray[Any]] = iter(())
        if pictures:
            stacked = np.stack(pictures)
            with turns:
                rows = iter(work(stacked))
        return [
            (item, pixels if isinstance(pixels, Unreadable) else next(rows))
            for item, pixels in zip(batch, loaded, strict=True)
        ]

    pool = ThreadPoolExecutor(threads, thread_name_prefix="reading")
    running: deque[Future[list[tuple[Item, NDArray[Any] | Unreadable]]]] = deque()
    try:
        while True:
            while len(running) <= threads and (batch := list(islice(waiting, chunk))):
                running.append(pool.submit(do, batch))
            if not running:
                return
            yield from running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _load(item: str | Path | bytes | NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.uint8] | Unreadable:
    try:
        return load(item, preprocess)
    except Unreadable as e:
        return e
