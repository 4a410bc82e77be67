"""Batches come whole, in order, from any start; the thread behind them never outlives or outwits its caller."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shoebox.base.errors import UsageError
from shoebox.data.batches import Resident, batches, order, resident
from shoebox.data.index import ImageIndex


class Numbered:
    """A stand-in for a pack: picture n holds the value n. Fails at row `bad`."""

    def __init__(self, count: int = 20, bad: int = -1) -> None:
        labels = np.arange(count) % 3
        part = np.full(count, "train")
        self.index = ImageIndex(Path(), tuple(f"{i}.png" for i in range(count)), labels, ("a", "b", "c"), part)
        self.bad = bad
        self.gathered: list[int] = []

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        if self.bad in rows:
            raise OSError("the disk is gone")
        self.gathered.append(len(rows))
        return np.broadcast_to(rows.astype(np.uint8)[:, None, None, None], (len(rows), 4, 4, 3)).copy()


def threads() -> int:
    return sum(thread.name.startswith("batches") for thread in threading.enumerate())


def test_a_batch() -> None:
    packed = Numbered()
    rows = np.array([5, 3, 19])
    (batch,) = batches(packed, rows, batch_size=8)
    assert batch.pictures.shape == (3, 3, 4, 4)
    assert batch.pictures.dtype == torch.uint8
    assert batch.pictures.is_contiguous(memory_format=torch.channels_last)
    assert batch.pictures[:, 0, 0, 0].tolist() == [5, 3, 19]
    assert batch.labels.tolist() == [2, 0, 1]
    assert batch.labels.dtype == torch.int64
    assert batch.rows.tolist() == [5, 3, 19]


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(0, 20),
    size=st.integers(1, 7),
    start=st.integers(0, 8),
    prefetch=st.integers(0, 3),
    drop_last=st.booleans(),
)
def test_a_later_start_gives_the_tail(count: int, size: int, start: int, prefetch: int, drop_last: bool) -> None:
    packed = Numbered()
    rows = order(20, seed=1, epoch=2)[:count]
    whole = [b.rows.tolist() for b in batches(packed, rows, batch_size=size, drop_last=drop_last)]
    expected = [rows[i : i + size].tolist() for i in range(0, count, size)]
    assert whole == [piece for piece in expected if len(piece) == size or not drop_last]
    tail = batches(packed, rows, batch_size=size, drop_last=drop_last, start=start, prefetch=prefetch)
    assert [b.rows.tolist() for b in tail] == whole[start:]


def test_batches_before_the_start_are_not_read() -> None:
    packed = Numbered(bad=0)
    assert len(list(batches(packed, np.arange(20), batch_size=5, start=1))) == 3


def test_an_error_is_raised_at_its_batch() -> None:
    stream = batches(Numbered(bad=11), np.arange(20), batch_size=5)
    assert next(stream).rows[0] == 0
    assert next(stream).rows[0] == 5
    with pytest.raises(OSError, match="the disk is gone"):
        next(stream)
    assert threads() == 0


def test_stopping_early_ends_the_thread() -> None:
    packed = Numbered()
    stream = batches(packed, np.arange(20), batch_size=1, prefetch=2)
    next(stream)
    assert threads() == 1
    stream.close()
    assert threads() == 0
    assert len(packed.gathered) <= 4


def test_the_next_batches_are_gathered_meanwhile() -> None:
    packed = Numbered()
    stream = batches(packed, np.arange(20), batch_size=5, prefetch=2)
    next(stream)
    for _ in range(500):
        if len(packed.gathered) == 3:
            break
        time.sleep(0.01)
    assert len(packed.gathered) == 3
    stream.close()


def test_order_depends_on_seed_and_epoch_only() -> None:
    first = order(1000, seed=3, epoch=4)
    assert np.array_equal(first, order(1000, seed=3, epoch=4))
    assert np.array_equal(np.sort(first), np.arange(1000))
    assert not np.array_equal(first, order(1000, seed=3, epoch=5))
    assert not np.array_equal(first, order(1000, seed=4, epoch=4))
    assert first.dtype == np.int64


def test_weights_balance() -> None:
    labels = np.array([0] * 900 + [1] * 100)
    weights = 1 / np.bincount(labels)[labels]
    drawn = order(1000, seed=0, epoch=0, weights=weights)
    assert 420 < (labels[drawn] == 1).sum() < 580
    assert drawn.dtype == np.int64
    never = order(1000, seed=0, epoch=0, weights=(labels == 1).astype(float))
    assert (labels[never] == 1).all()


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], [1.0, -1.0], [1.0, np.nan]])
def test_impossible_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(UsageError, match="sampling weights"):
        order(2, seed=0, epoch=0, weights=np.array(weights))


@pytest.mark.parametrize("drop_last", [False, True])
def test_a_pack_on_the_device_gives_the_same_batches(drop_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoebox.data.batches.CHUNK_BYTES", 3 * 4 * 4 * 7)
    rows = order(20, seed=1, epoch=2)
    made = {"batch_size": 6, "start": 1, "drop_last": drop_last}
    here, there = (list(batches(packed, rows, **made)) for packed in (Numbered(), Resident(Numbered(), "cpu")))
    assert len(here) == len(there) == 3 - drop_last
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one.pictures, other.pictures) and torch.equal(one.labels, other.labels)
        assert one.rows.tolist() == other.rows.tolist()
        assert other.pictures.is_contiguous(memory_format=torch.channels_last)


def test_on_a_cpu_the_pack_stays_where_it_is() -> None:
    packed = Numbered()
    assert resident(packed, "cpu") is packed
