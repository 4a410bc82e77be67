import threading
import tracemalloc

import numpy as np
import pytest

from shoebox.data.picture import Unreadable
from shoebox.data.preprocess import Preprocess
from shoebox.data.reading import work_through

PREPROCESS = Preprocess(store=8, size=8)


def means(pictures):
    return pictures.mean(axis=(1, 2, 3))


@pytest.mark.parametrize("workers", [1, 3])
def test_every_item_comes_once_and_in_order(workers):
    pictures = [np.full((9, 9, 3), i, np.uint8) for i in range(50)]
    items = [*pictures[:20], b"no picture", *pictures[20:]]
    found = list(work_through(items, PREPROCESS, means, chunk=4, workers=workers))
    assert [item is given for (item, _), given in zip(found, items, strict=True)] == [True] * 51
    assert isinstance(found[20][1], Unreadable)
    assert [float(row) for i, (_, row) in enumerate(found) if i != 20] == list(range(50))


def test_only_as_many_work_at_once_as_may():
    busy, most, lock = 0, 0, threading.Lock()

    def work(pictures):
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        with lock:
            busy -= 1
        return means(pictures)

    list(work_through([np.zeros((8, 8, 3), np.uint8)] * 64, PREPROCESS, work, chunk=2, workers=1))
    assert most == 1


def test_an_error_of_the_work_reaches_the_caller_and_ends_the_threads():
    def work(pictures):
        raise ZeroDivisionError

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        list(work_through([np.zeros((8, 8, 3), np.uint8)] * 9, PREPROCESS, work, chunk=2))
    assert threading.active_count() <= before


def test_items_are_taken_only_as_they_are_needed():
    taken = 0

    def items():
        nonlocal taken
        for _ in range(100_000):
            taken += 1
            yield np.zeros((64, 64, 3), np.uint8)

    stream = work_through(items(), Preprocess(store=64, size=64), means, chunk=16)
    tracemalloc.start()
    for _ in range(500):
        next(stream)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    stream.close()
    assert taken < 1000 and peak < 20e6
