"""Asking the disk for files ahead: it brings them into the cache, and whatever is wrong with one costs nothing."""

import os
import socket
import time
from pathlib import Path

import pytest

from shoebox.data import prefetch as module
from shoebox.data.prefetch import prefetch

linux = pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="only Linux tells what is in its cache")


def out_of_the_cache(folder: Path, count: int) -> list[Path]:
    """Files that are on the disk alone; skips where the file system keeps them in memory."""
    files = [folder / f"{i}.jpg" for i in range(count)]
    for file in files:
        file.write_bytes(bytes(5000))
        handle = os.open(file, os.O_RDWR)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)
    if any(module._cached(file) for file in files):
        pytest.skip("this file system does not let go of what it holds in memory")
    return files


@linux
def test_files_are_in_the_cache_soon(tmp_path: Path) -> None:
    files = out_of_the_cache(tmp_path, 5)
    prefetch(files)
    until = time.monotonic() + 10
    while not all(module._cached(file) for file in files):
        assert time.monotonic() < until, "the disk was not asked"
        time.sleep(0.01)
    assert [file.read_bytes() for file in files] == [bytes(5000)] * 5


@linux
def test_nothing_is_asked_of_files_that_have_just_been_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(os, "posix_fadvise", lambda *given: asked.append(given))
    file = tmp_path / "a.jpg"
    file.write_bytes(b"jpeg")
    file.read_bytes()
    prefetch([file] * 3)
    assert not asked


@linux
@pytest.mark.parametrize("kind", ["absent", "folder", "fifo", "socket", "dangling", "nul"])
def test_what_is_no_file_is_passed_over(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / "odd"
    if kind == "folder":
        odd.mkdir()
    elif kind == "fifo":
        os.mkfifo(odd)
    elif kind == "socket":
        monkeypatch.chdir(tmp_path)  # the name of a socket has to be short
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("odd")
    elif kind == "dangling":
        odd.symlink_to(tmp_path / "gone")
    elif kind == "nul":
        odd = tmp_path / "a\0b"
    asked = []
    monkeypatch.setattr(os, "posix_fadvise", lambda *given: asked.append(given))
    file = tmp_path / "a.jpg"
    file.write_bytes(b"jpeg")
    prefetch([odd, file, odd])  # the last, odd, is in no cache, so that all are asked for
    assert len(asked) == 1


def test_a_system_or_file_system_that_takes_no_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    file = tmp_path / "a.jpg"
    file.write_bytes(b"jpeg")
    monkeypatch.setattr(module, "_cached", lambda _: False)
    monkeypatch.setattr(os, "posix_fadvise", refuse, raising=False)
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []  # noqa: PTH112, PTH208
    prefetch([file])
    assert (os.listdir("/proc/self/fd") if before else []) == before  # noqa: PTH208
    monkeypatch.delattr(os, "posix_fadvise")
    prefetch([file])
    prefetch([])
