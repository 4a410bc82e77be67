"""Batches: pictures out of a pack, in a given order, on the device, with the next ones being gathered meanwhile.

In: a pack, and the rows in the order wanted (`order` makes one that depends only on the seed and the epoch).
Out: `Batch`es of uint8 pictures. Nothing here is random, so a run can start in the middle of an epoch. A pack that fits
a GPU is copied there once (`resident`); its batches are then gathered by the GPU itself.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from shoebox.base.errors import UsageError
from shoebox.data.index import ImageIndex
from shoebox.data.stream import Stream


class Packed(Protocol):
    """What batches are made from: a Pack or a Stream."""

    @property
    def index(self) -> ImageIndex:
        """The rows there are."""

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The pictures of these rows, (n,S,S,3) uint8; or what stands for them, channels last."""


ROOM = 0.5
"""Share of a GPU's free memory that a pack may take; the rest is for training."""
CHUNK_BYTES = 256 << 20


@dataclass(frozen=True, eq=False)
class Batch:
    """Some pictures.

    Attributes:
        pictures: (n,3,S,S) uint8 on the device, channels-last in memory.
        labels: (n,) int64 on the device; -1 where there is none.
        rows: (n,) int64, which rows of the pack these are.
    """

    pictures: torch.Tensor
    labels: torch.Tensor
    rows: NDArray[np.int64]


def order(count: int, *, seed: int, epoch: int, weights: NDArray[np.float64] | None = None) -> NDArray[np.int64]:
    """The order of one epoch.

    Args:
        count: how many there are to order.
        seed, epoch: all that the order depends on; both from 0 upward.
        weights: (count,) not negative. Given, `count` draws with replacement in proportion to them (balanced
            sampling); otherwise each once.

    Returns:
        (count,) int64 in 0..count-1.

    Raises:
        UsageError: the weights are not `count` finite numbers from 0 upward with a sum above 0.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, epoch]))
    if weights is None:
        return rng.permutation(count)
    if weights.shape != (count,) or not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise UsageError(f"sampling weights: expected {count} finite numbers from 0 upward with a sum above 0")
    return rng.choice(count, size=count, p=weights / weights.sum())


def batches(
    packed: Packed,
    rows: NDArray[np.int64],
    *,
    batch_size: int,
    device: torch.device | str = "cpu",
    drop_last: bool = False,
    start: int = 0,
    prefetch: int = 2,
) -> Iterator[Batch]:
    """Give the pictures of `rows` in their order, `batch_size` at a time.

    One thread gathers up to `prefetch` batches ahead. It ends with the generator: whoever stops early waits at most for
    the batch being gathered. An error in the thread is raised here, at its batch.

    Args:
        packed: a Pack or a Stream.
        rows: (n,) int64 rows of it.
        batch_size: pictures in a batch.
        device: where the batches are wanted.
        drop_last: leave out a last batch that is not full.
        start: the first batch to give, to resume within an epoch; those before it are not read.
        prefetch: batches to have ready; 0 gathers each when it is asked for.
    """
    device = torch.device(device)
    end = len(rows) - len(rows) % batch_size if drop_last else len(rows)
    pieces = (rows[first : first + batch_size] for first in range(start * batch_size, end, batch_size))
    if isinstance(packed, Resident):
        yield from map(packed.batch, pieces)
        return
    waiting: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        try:
            for piece in pieces:
                waiting.append(thread.submit(collate, packed, piece, pinned=device.type == "cuda"))
                if len(waiting) > prefetch:
                    yield moved(waiting.popleft().result(), device)
            while waiting:
                yield moved(waiting.popleft().result(), device)
        finally:
            thread.shutdown(wait=False, cancel_futures=True)


def collate(packed: Packed, rows: NDArray[np.int64], *, pinned: bool = False) -> Batch:
    """One batch in main memory, page-locked if `pinned` so that a GPU can fetch it while the CPU goes on."""
    pictures = torch.from_numpy(packed.gather(rows))
    labels = torch.from_numpy(packed.index.labels[rows])
    if pinned:
        pictures, labels = pictures.pin_memory(), labels.pin_memory()
    return Batch(pictures.permute(0, 3, 1, 2), labels, rows)


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on the device. The copy to a GPU is queued behind its work, and nothing waits for it."""
    if device.type == "cpu":
        return batch
    return Batch(batch.pictures.to(device, non_blocking=True), batch.labels.to(device, non_blocking=True), batch.rows)


class Resident:
    """A pack whose pictures lie on a device.

    Args:
        packed: what to copy there, all of it.
        device: where to.
    """

    def __init__(self, packed: Packed, device: torch.device | str) -> None:
        self.index = packed.index
        self._packed = packed
        count = max(1, CHUNK_BYTES // _picture_bytes(packed))
        every = np.arange(len(packed.index))
        one = torch.from_numpy(packed.gather(every[:1]))
        self._pictures = torch.empty((len(every), *one.shape[1:]), dtype=one.dtype, device=device)
        for i in range(0, len(every), count):
            self._pictures[i : i + count] = torch.from_numpy(packed.gather(every[i : i + count])).to(device)
        self._labels = torch.from_numpy(packed.index.labels).to(device)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The pictures of these rows in main memory."""
        return self._packed.gather(rows)

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """One batch, gathered by the device; nothing waits for it."""
        where = torch.from_numpy(rows).to(self._labels.device, non_blocking=True)
        return Batch(self._pictures[where].permute(0, 3, 1, 2), self._labels[where], rows)


def resident(packed: Packed, device: str) -> Packed:
    """The pack, copied to the device where that is a GPU with room for it; else the pack as it is."""
    if not device.startswith("cuda") or isinstance(packed, Stream) or not len(packed.index):
        return packed
    torch.cuda.empty_cache()  # what earlier work has left is free too
    free, _ = torch.cuda.mem_get_info(device)
    return Resident(packed, device) if _picture_bytes(packed) * len(packed.index) < ROOM * free else packed


def _picture_bytes(packed: Packed) -> int:
    return max(1, packed.gather(np.arange(1)).nbytes)
