"""The pack: exact, found again when it should be and only then, whole or absent, and mended when bytes rot."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from shoebox.base.errors import ShoeboxError
from shoebox.data import cache as cache_module
from shoebox.data import pack as pack_module
from shoebox.data import packing
from shoebox.data.decoders import Decoded
from shoebox.data.index import ImageIndex
from shoebox.data.pack import Pack, Stream, caches, pack
from shoebox.data.picture import load
from shoebox.data.preprocess import Preprocess

PREPROCESS = Preprocess(store=8, size=8)
COUNT = 12


class Heard:
    """A Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def track(self, items: Iterable[object], total: int | None = None, label: str = "") -> Iterator[object]:
        yield from items


def index_of(root: Path, paths: list[str]) -> ImageIndex:
    labels = np.arange(len(paths)) % 2
    return ImageIndex(root, tuple(paths), labels, ("a", "b"), np.full(len(paths), "train"))


@pytest.fixture
def index(tmp_path: Path) -> ImageIndex:
    root = tmp_path / "data"
    root.mkdir()
    rng = np.random.default_rng(0)
    names = [f"{i:02}.{'jpg' if i % 3 else 'png'}" for i in range(COUNT)]
    for name in names:
        pixels = rng.integers(0, 256, (int(rng.integers(5, 30)), int(rng.integers(5, 30)), 3), np.uint8)
        Image.fromarray(pixels).save(root / name)
    # not in the order of the names, to tell rows of the index from numbers in the pack
    return index_of(root, names[::-1])


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "packs").iterdir())


def assert_exact(packed: Pack | Stream) -> None:
    pictures = packed.gather(np.arange(len(packed)))
    assert pictures.dtype == np.uint8
    for row, picture in enumerate(pictures):
        assert np.array_equal(picture, load(packed.index.file(row), packed.preprocess))


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was decoded")

    monkeypatch.setattr(packing, "decode_all", refuse)
    monkeypatch.setattr(pack_module, "load", refuse)


def test_round_trip(index: ImageIndex, cache: Path) -> None:
    packed = pack(index, PREPROCESS, cache=cache)
    assert isinstance(packed, Pack)
    assert len(packed) == COUNT
    assert packed.index is index
    assert packed.skipped == ()
    assert_exact(packed)
    some = packed.gather(np.array([7, 7, 0]))
    assert np.array_equal(some, packed.gather(np.arange(COUNT))[[7, 7, 0]])
    some[:] = 0  # the caller's own: the pack is not written to
    assert_exact(packed)
    packed.close()


@pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="reads what Linux says of a process's memory")
def test_what_was_read_does_not_stay_in_memory(index: ImageIndex, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def resident() -> int:
        """kB of the pack that this process has mapped."""
        lines = iter(Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines())
        sizes = [next(line for line in lines if line.startswith("Rss:")) for line in lines if str(cache) in line]
        return sum(int(size.split()[1]) for size in sizes)

    packed = pack(index, PREPROCESS, cache=cache)
    assert isinstance(packed, Pack)
    monkeypatch.setattr(pack_module, "LET_GO", 60.0)
    assert_exact(packed)
    assert resident() > 0
    monkeypatch.setattr(pack_module, "LET_GO", -1.0)
    assert_exact(packed)
    assert resident() == 0
    assert_exact(packed)
    packed.close()
    assert str(cache) not in Path("/proc/self/maps").read_text(encoding="utf-8")


def test_opened_again_it_decodes_nothing(index: ImageIndex, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pack(index, PREPROCESS, cache=cache).gather(np.arange(COUNT))
    forbid_decoding(monkeypatch)
    assert np.array_equal(pack(index, PREPROCESS, cache=cache).gather(np.arange(COUNT)), first)
    # nor after new labels, a new split, another order, or other settings of the network's own layers
    other = replace(index, labels=index.labels[::-1].copy(), part=np.full(COUNT, "test"))
    pack(other, replace(PREPROCESS, size=4, mean=(0.1, 0.1, 0.1)), cache=cache)
    turned = pack(index.take(np.arange(COUNT)[::-1]), PREPROCESS, cache=cache)
    assert np.array_equal(turned.gather(np.arange(COUNT)), first[::-1])


def test_the_key_follows_files_and_stored_pixels(index: ImageIndex, cache: Path) -> None:
    pack(index, PREPROCESS, cache=cache)
    for changed in (
        replace(PREPROCESS, store=9),
        replace(PREPROCESS, fit="crop"),
        replace(PREPROCESS, interpolation="bilinear"),
    ):
        before = len(entries(cache))
        assert_exact(pack(index, changed, cache=cache))
        assert len(entries(cache)) == before + 1
    Image.new("RGB", (20, 20), "red").save(index.file(0))
    packed = pack(index, PREPROCESS, cache=cache)
    assert_exact(packed)
    assert packed.gather(np.array([0]))[0, 4, 4, 0] > 200
    assert_exact(pack(index.take([0, 1, 2]), PREPROCESS, cache=cache))


def test_unreadable_files_are_left_out_and_listed(index: ImageIndex, cache: Path) -> None:
    whole = index.file(4).read_bytes()
    index.file(4).write_bytes(whole[: len(whole) // 2])
    index.file(9).unlink()
    for _ in range(2):  # when made, and when opened again
        packed = pack(index, PREPROCESS, cache=cache)
        assert {s.path for s in packed.skipped} == {index.paths[4], index.paths[9]}
        assert all(s.reason for s in packed.skipped)
        assert packed.index.paths == tuple(p for i, p in enumerate(index.paths) if i not in (4, 9))
        assert packed.index.labels.tolist() == np.delete(index.labels, [4, 9]).tolist()
        assert_exact(packed)


def test_nothing_readable_and_nothing_at_all(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"")
    for paths in (["x.png"], []):
        packed = pack(index_of(tmp_path, paths), PREPROCESS, cache=cache)
        assert len(packed) == 0
        assert len(packed.skipped) == len(paths)
        assert packed.gather(np.array([], np.int64)).shape == (0, 8, 8, 3)


def test_a_file_listed_twice(index: ImageIndex, cache: Path) -> None:
    assert_exact(pack(index.take([3, 3, 1]), PREPROCESS, cache=cache))


def test_files_elsewhere_by_their_absolute_paths(index: ImageIndex, cache: Path) -> None:
    elsewhere = index_of(cache, [str(index.root / path) for path in index.paths])
    packed = pack(elsewhere, PREPROCESS, cache=cache)
    assert not packed.skipped
    assert np.array_equal(
        packed.gather(np.arange(COUNT)), pack(index, PREPROCESS, cache=cache).gather(np.arange(COUNT))
    )


def test_a_file_that_changes_meanwhile_is_left_out_once(
    index: ImageIndex, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_all = packing.decode_all

    def slow(*args: Any, **options: Any) -> Decoded:
        result = decode_all(*args, **options)
        Image.new("RGB", (31, 31), "blue").save(index.file(2))
        return result

    with monkeypatch.context() as patch:
        patch.setattr(packing, "decode_all", slow)
        packed = pack(index, PREPROCESS, cache=cache)
    assert [(s.path, s.reason) for s in packed.skipped] == [(index.paths[2], packing.CHANGED)]
    again = pack(index, PREPROCESS, cache=cache)
    assert again.skipped == ()
    assert_exact(again)


@pytest.mark.parametrize("at_once", [0, 1 << 30], ids=["as it is read", "when opened"])
def test_rotten_bytes_are_decoded_again(
    index: ImageIndex, cache: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(pack_module, "CHECK_AT_ONCE", at_once)
    pack(index, PREPROCESS, cache=cache).close()
    (file,) = cache.glob("packs/*/pictures.u8")
    good = file.read_bytes()
    rotten = bytearray(good)
    rotten[5 * 192 + 7] ^= 1
    rotten[9 * 192 : 10 * 192] = bytes(192)
    file.write_bytes(rotten)
    assert_exact(pack(index, PREPROCESS, cache=cache))
    assert file.read_bytes() == good
    # and so are pictures whose checksum itself is damaged
    (sums,) = cache.glob("packs/*/checksums.u32")
    sums.write_bytes(bytes(4 * COUNT))
    assert_exact(pack(index, PREPROCESS, cache=cache))
    assert sums.read_bytes() != bytes(4 * COUNT)


def test_rotten_bytes_of_a_lost_file(index: ImageIndex, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_module, "CHECK_AT_ONCE", 0)
    pack(index, PREPROCESS, cache=cache).close()
    packed = pack(index, PREPROCESS, cache=cache)
    (file,) = cache.glob("packs/*/pictures.u8")
    rotten = bytearray(file.read_bytes())
    rotten[0] ^= 1
    status, path = index.file(COUNT - 1).stat(), index.file(COUNT - 1)
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    file.write_bytes(rotten)
    for _ in range(2):
        with pytest.raises(ShoeboxError, match=rf"{path.name} is damaged .* clear the cache"):
            packed.gather(np.arange(COUNT))
    again = pack(index, PREPROCESS, cache=cache)
    assert [s.path for s in again.skipped] == [path.name]


@pytest.mark.parametrize("name", ["pictures.u8", "checksums.u32", "meta.json"])
@pytest.mark.parametrize("damage", [b"", b"[]", b'{"unreadable": {"x": 1}}', None])
def test_a_damaged_entry_is_made_anew(index: ImageIndex, cache: Path, name: str, damage: bytes | None) -> None:
    pack(index, PREPROCESS, cache=cache).close()
    (file,) = cache.glob(f"packs/*/{name}")
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    assert_exact(pack(index, PREPROCESS, cache=cache))
    assert len(entries(cache)) == 1


def test_two_at_once(index: ImageIndex, cache: Path) -> None:
    packed: list[Pack | Stream] = []
    threads = [threading.Thread(target=lambda: packed.append(pack(index, PREPROCESS, cache=cache))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(packed) == 4
    for one in packed:
        assert isinstance(one, Pack)
        assert_exact(one)
    assert len(entries(cache)) == 1


SLOW = """
import sys
from pathlib import Path
import numpy as np
from shoebox.data import decoders, pack
from shoebox.data.index import ImageIndex
from shoebox.data.preprocess import Preprocess
decoders.FEW, decoders.decode_all.__kwdefaults__["few"] = 0, 0
decoders.PROGRAM = decoders.PROGRAM.replace("main()", "import time, shoebox.data.worker as w; "
    "load = w.load; w.load = lambda *a: (time.sleep(0.5), load(*a))[1]; main()")
root = Path(sys.argv[1])
paths = tuple(sorted(path.name for path in root.iterdir()))
index = ImageIndex(root, paths, np.zeros(len(paths), np.int64), ("a",), np.full(len(paths), "train"))
pack.pack(index, Preprocess(8, 8), cache=Path(sys.argv[2]), threads=1)
"""


def test_killed_while_packing(index: ImageIndex, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", SLOW, str(index.root), str(cache)]) as process:
        deadline = time.monotonic() + 60
        while not (workers := psutil.Process(process.pid).children()) or not list(cache.glob("packs/*/pictures.u8")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    (left,) = entries(cache)
    assert left.startswith(cache_module.MAKING)
    assert caches(cache) == []
    # its decoders end by themselves, after the picture they are at
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    # the next one is not disturbed, and removes what is left once it is certain that nobody works on it
    assert_exact(pack(index, PREPROCESS, cache=cache))
    assert left in entries(cache)
    monkeypatch.setattr(cache_module, "ABANDONED", -1.0)
    pack(index, PREPROCESS, cache=cache)
    assert left not in entries(cache)
    assert len(entries(cache)) == 1


def test_a_full_disk_leaves_a_stream_and_no_litter(
    index: ImageIndex, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_all = packing.decode_all

    def full(files: list[str], preprocess: Preprocess, target: Path | None, **options: Any) -> Decoded:
        if target is not None:
            raise OSError(28, "No space left on device")
        return decode_all(files, preprocess, target, **options)

    monkeypatch.setattr(packing, "decode_all", full)
    heard = Heard()
    streamed = pack(index, PREPROCESS, cache=cache, progress=heard)
    assert isinstance(streamed, Stream)
    assert len(heard.lines) == 1
    assert "No space left" in heard.lines[0]
    assert_exact(streamed)
    assert not list(cache.glob("packs/*/pictures.u8"))
    streamed.close()


def test_an_impossible_cache_leaves_a_stream(index: ImageIndex, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    streamed = pack(index, PREPROCESS, cache=tmp_path / "file")
    assert isinstance(streamed, Stream)
    assert_exact(streamed)
    streamed.close()
