"""Decoding in processes that may be lost: a crash or a hang costs the picture that caused it."""

import threading
from pathlib import Path

import numpy as np
import pytest
from serving import as_png

from shoebox.data.picture import Unreadable, load
from shoebox.data.preprocess import Preprocess
from shoebox.serve import decoder as module
from shoebox.serve.decoder import CRASHED, Decoder

PREPROCESS = Preprocess(store=16, size=16)
HOSTILE = """
import sys; sys.path[:] = sys.argv[2:]
import {}, os, time
module = shoebox.serve.decoding
real = module.load
def load(data, preprocess):
    if data == b"crash": os.abort()
    if data == b"leave": os._exit(0)
    if data == b"hang": time.sleep(60)
    if data == b"large": return real(bytes(2_000_000_000), preprocess)
    if data == b"write": open("file", "wb").write(b"x")
    return real(data, preprocess)
module.load = load
module.main()
"""


@pytest.fixture
def decoder(monkeypatch):
    """A decoder whose processes do what a file says."""
    monkeypatch.setattr(module, "PROGRAM", HOSTILE)
    made = Decoder(PREPROCESS, seconds=1, memory=1 << 30)
    yield made
    made.stop()


def shade(value):
    return as_png(np.full((20, 20, 3), value, np.uint8))


def test_pixels_are_those_of_the_one_decoder(decoder, picture):
    for _ in range(2):
        first, second, third = decoder.decode([picture, b"no picture", shade(9)])
        assert np.array_equal(first, load(picture, PREPROCESS)) and np.array_equal(third, load(shade(9), PREPROCESS))
        assert isinstance(second, Unreadable) and "plain text" in second.reason
    assert decoder.lost == 0


@pytest.mark.parametrize("bad", [b"crash", b"leave"])
def test_a_crash_costs_the_one_picture(decoder, bad):
    found = decoder.decode([shade(1), bad, shade(2), bad])
    assert [isinstance(one, Unreadable) for one in found] == [False, True, False, True]
    assert found[1].reason == CRASHED and found[2][0, 0, 0] == 2 and decoder.lost == 2


def test_a_hang_is_ended_from_another_thread(decoder):
    stop = threading.Event()

    def watch():
        while not stop.wait(0.1):
            decoder.end_if_overdue()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        found = decoder.decode([shade(1), b"hang", shade(2)])
    finally:
        stop.set()
        thread.join()
    assert [isinstance(one, Unreadable) for one in found] == [False, True, False] and "over 1 s" in found[1].reason


def test_memory_and_files_are_out_of_reach(decoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    large, write, fine = decoder.decode([b"large", b"write", shade(3)])
    assert isinstance(large, Unreadable) and isinstance(write, Unreadable) and fine[0, 0, 0] == 3
    assert not (tmp_path / "file").exists() or not (tmp_path / "file").stat().st_size


def test_the_token_is_not_in_the_process(decoder, monkeypatch):
    monkeypatch.setenv("SHOEBOX_TOKEN", "a-secret-of-some-length")
    decoder.start()
    environment = Path(f"/proc/{decoder._process.pid}/environ")
    if not environment.exists():
        pytest.skip("needs /proc")
    assert b"SHOEBOX_TOKEN" not in environment.read_bytes()
