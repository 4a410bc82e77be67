"""Asking the disk for files ahead: all are asked for, and whatever is wrong with one costs nothing."""

import os
import socket
from pathlib import Path

import pytest

from shoebox.data import prefetch as module
from shoebox.data.prefetch import AHEAD, prefetch

advises = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system takes no advice")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int, int]]:
    """What is asked of the system: of which file, from where, how much, and what."""
    found = []
    advise = os.posix_fadvise

    def note(handle: int, *given: int) -> None:
        found.append((os.fstat(handle).st_ino, *given))
        advise(handle, *given)

    monkeypatch.setattr(os, "posix_fadvise", note)
    monkeypatch.setattr(module, "_cached", lambda _: False)
    return found


def pictures(folder: Path, count: int) -> list[Path]:
    files = [folder / f"{i}.jpg" for i in range(count)]
    for file in files:
        file.write_bytes(bytes(5000))
    return files


@advises
def test_every_file_is_asked_for(tmp_path: Path, asked: list[tuple[int, int, int, int]]) -> None:
    files = pictures(tmp_path, 5)
    prefetch(files[:4])
    prefetch([str(files[4])])
    assert asked == [(file.stat().st_ino, 0, AHEAD, os.POSIX_FADV_WILLNEED) for file in files]
    assert [file.read_bytes() for file in files] == [bytes(5000)] * 5


@advises
@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="only Linux tells what is in its cache")
def test_nothing_is_asked_of_files_that_have_just_been_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(os, "posix_fadvise", lambda *given: asked.append(given))
    (file,) = pictures(tmp_path, 1)
    with file.open("rb") as stream:
        stream.read()
        try:
            os.preadv(stream.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
        except OSError:
            pytest.skip("this file system does not tell what is in its cache")
    prefetch([file] * 3)
    assert not asked


@advises
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
    (file,) = pictures(tmp_path, 1)
    prefetch([odd, file, odd])  # the last, odd, is in no cache, so that all are asked for
    assert len(asked) == 1


@advises
def test_asking_ends_where_it_takes_long(tmp_path: Path, asked: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    files = pictures(tmp_path, 5)
    monkeypatch.setattr(module, "LONGEST", -1.0)
    prefetch(files)
    assert len(asked) == 1


@advises
def test_a_file_system_that_takes_no_advice_is_asked_once_and_no_file_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handles = []

    def refuse(handle: int, *_: int) -> None:
        handles.append(handle)
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(module, "_cached", lambda _: False)
    monkeypatch.setattr(os, "posix_fadvise", refuse)
    prefetch(pictures(tmp_path, 3))
    assert len(handles) == 1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handles[0])


def test_a_system_that_takes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    prefetch(pictures(tmp_path, 1))
    prefetch([])
