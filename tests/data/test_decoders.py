"""Decoding by processes: the same as by threads, and alive after a decoder that crashes, hangs or meets a full disk."""

import errno
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shoebox.data import decoders, worker
from shoebox.data.decoders import CHUNK, PROGRAM, decode_all
from shoebox.data.picture import load
from shoebox.data.preprocess import Preprocess

PREPROCESS = Preprocess(8, 8)
HOSTILE = """
import sys; sys.path[:] = sys.argv[2:]
import os, time
from shoebox.data import worker
load = worker.load
def hostile(path, preprocess):
    name = os.path.basename(path)
    if "crash" in name: os.abort()
    if "hang" in name: time.sleep(60)
    if "chatter" in name: os.write(1, b"a decoder's own words")
    return load(path, preprocess)
worker.load = hostile
worker.main()
"""


def save(path: Path, seed: int) -> str:
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(path, format="PNG")
    return str(path)


def stored(target: Path, count: int) -> NDArray[np.uint8]:
    return np.fromfile(target, np.uint8).reshape(count, 8, 8, 3)


def blank(path: Path, count: int) -> Path:
    path.write_bytes(bytes(count * 8 * 8 * 3))
    return path


@pytest.mark.parametrize("few", [0, 10_000], ids=["processes", "threads"])
def test_every_picture_lands_in_its_place(tmp_path: Path, few: int) -> None:
    files = [save(tmp_path / f"{i}.png", i) for i in range(CHUNK + 9)]
    odd = [os.fsdecode(b"\xff\xfe.png"), "new\nline.png", "-dash.png", "é.png", '"quote.png']
    files += [save(tmp_path / name, 500 + i) for i, name in enumerate(odd)]
    (tmp_path / "bad.png").write_bytes(b"no picture")
    files[3:3] = [str(tmp_path / "bad.png"), str(tmp_path / "absent.png")]
    target = blank(tmp_path / "pictures", len(files))
    result = decode_all(files, PREPROCESS, target, threads=2, few=few)
    assert sorted(result.unreadable) == [3, 4]
    assert all("\n" not in reason and reason for reason in result.unreadable.values())
    for i, (file, picture) in enumerate(zip(files, stored(target, len(files)), strict=True)):
        if i in result.unreadable:
            assert not picture.any()
        else:
            assert np.array_equal(picture, load(Path(file), PREPROCESS))
            assert result.checksums[i] == zlib.crc32(picture)


def test_large_pictures_make_smaller_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "CHUNK_BYTES", 2 * 192)
    files = [save(tmp_path / f"{i}.png", i) for i in range(5)]
    target = blank(tmp_path / "pictures", 5)
    decode_all(files, PREPROCESS, target, threads=2)
    for file, picture in zip(files, stored(target, 5), strict=True):
        assert np.array_equal(picture, load(Path(file), PREPROCESS))


def test_what_is_written_at_a_time_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "AT_ONCE", 3 * 192)
    files = [save(tmp_path / f"{i}.png", i) for i in range(8)]
    files[4] = str(tmp_path / "absent.png")
    target = blank(tmp_path / "pictures", 8)
    result = decode_all(files, PREPROCESS, target, threads=2)
    pictures = stored(target, 8)
    assert list(result.unreadable) == [4] and not pictures[4].any()
    for i in (0, 1, 2, 3, 5, 6, 7):
        assert np.array_equal(pictures[i], load(Path(files[i]), PREPROCESS))
        assert result.checksums[i] == zlib.crc32(pictures[i])


@pytest.mark.parametrize("few", [0, 10_000], ids=["processes", "threads"])
def test_nothing_to_decode(few: int) -> None:
    assert decode_all([], PREPROCESS, None, threads=1, few=few).unreadable == {}


def test_a_crashing_and_a_hanging_decoder_cost_one_file_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "PROGRAM", HOSTILE)
    monkeypatch.setattr(decoders, "PATIENCE", 1.0)
    files = [save(tmp_path / f"{i}.png", i) for i in range(5)]
    files.insert(1, save(tmp_path / "crash.png", 10))
    files.insert(4, save(tmp_path / "hang.png", 11))
    files.append(save(tmp_path / "chatter.png", 12))
    target = blank(tmp_path / "pictures", len(files))
    result = decode_all(files, PREPROCESS, target, threads=1, few=0)
    assert result.unreadable == {1: "its decoder crashed", 4: "its decoder took over 1 s"}
    pictures = stored(target, len(files))
    for i in set(range(len(files))) - {1, 4}:
        assert np.array_equal(pictures[i], load(Path(files[i]), PREPROCESS))


def test_threads_take_over_where_no_process_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [save(tmp_path / "0.png", 0)]
    for program in ("raise SystemExit(1)", None):
        if program is None:
            monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
        else:
            monkeypatch.setattr(decoders, "PROGRAM", program)
        target = blank(tmp_path / "pictures", 1)
        assert decode_all(files, PREPROCESS, target, threads=1, few=0).unreadable == {}
        assert stored(target, 1).any()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("few", [0, 10_000], ids=["processes", "threads"])
def test_a_full_disk_is_reported(tmp_path: Path, few: int) -> None:
    files = [save(tmp_path / f"{i}.png", i) for i in range(3)]
    with pytest.raises(OSError, match="space") as caught:
        decode_all(files, PREPROCESS, Path("/dev/full"), threads=1, few=few)
    assert caught.value.errno == errno.ENOSPC


def test_the_program_imports_no_torch_and_ends_with_its_input() -> None:
    setup = json.dumps({"preprocess": PREPROCESS.to_dict(), "target": None})
    program = PROGRAM.format("shoebox.data.worker") + "; assert 'torch' not in sys.modules, 'torch'"
    done = subprocess.run(
        [sys.executable, "-c", program, setup, *sys.path], input="", capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ready\n", "")
