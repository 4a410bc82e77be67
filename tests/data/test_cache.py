"""The cache: lists what is Shoebox's, and removes nothing else."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoebox.data.cache import MAKING
from shoebox.data.index import ImageIndex
from shoebox.data.pack import caches, clear, pack
from shoebox.data.preprocess import Preprocess


@pytest.fixture
def index(tmp_path: Path) -> ImageIndex:
    root = tmp_path / "data"
    root.mkdir()
    for i in range(3):
        Image.new("RGB", (9, 9), (20 * i, 100, 0)).save(root / f"{i}.png")
    return ImageIndex(root, ("0.png", "1.png", "2.png"), np.zeros(3, np.int64), ("a",), np.full(3, "train"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_an_empty_cache(cache: Path) -> None:
    assert caches(cache) == []
    assert clear(cache) == 0


def test_packs_are_listed_the_last_used_first(index: ImageIndex, cache: Path) -> None:
    for side in (8, 16):
        pack(index, Preprocess(side, side), cache=cache)
    now = time.time()
    for entry in caches(cache):
        age = 50 if entry.side == 8 else 100
        os.utime(cache / "packs" / entry.key / "meta.json", (now - age, now - age))
    first, second = caches(cache)
    assert (first.side, second.side) == (8, 16)
    assert first.root == str(index.root)
    assert first.count == 3
    assert 3 * 192 < first.bytes < 3 * 192 + 1000
    assert abs(first.used - (now - 50)) < 1
    pack(index, Preprocess(16, 16), cache=cache)
    assert caches(cache)[0].side == 16


def test_clearing_by_age(index: ImageIndex, cache: Path) -> None:
    for side in (8, 16):
        pack(index, Preprocess(side, side), cache=cache)
    old = next(entry for entry in caches(cache) if entry.side == 8)
    for path in (cache / "packs" / old.key, *(cache / "packs" / old.key).iterdir()):
        os.utime(path, (1, 1))
    assert clear(cache, older_than=3600) == old.bytes
    assert [entry.side for entry in caches(cache)] == [16]
    assert clear(cache) > 0
    assert list((cache / "packs").iterdir()) == []
    pack(index, Preprocess(8, 8), cache=cache)


def test_only_what_is_ours_goes_and_links_are_not_followed(index: ImageIndex, cache: Path, tmp_path: Path) -> None:
    pack(index, Preprocess(8, 8), cache=cache)
    packs = cache / "packs"
    (key,) = (entry.key for entry in caches(cache))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "pictures.u8").write_bytes(b"precious")
    (packs / ("0" * 40)).symlink_to(elsewhere)
    (packs / (MAKING + "link")).symlink_to(elsewhere)
    (packs / "notes").mkdir()
    (packs / "notes" / "meta.json").write_bytes(b"precious")
    (packs / "meta.json").write_bytes(b"precious")
    (packs / key / "mine.txt").write_bytes(b"precious")
    (packs / key / "pictures.u8").unlink()
    (packs / key / "pictures.u8").symlink_to(elsewhere / "pictures.u8")
    fresh = packs / (MAKING + "fresh")
    fresh.mkdir()
    (fresh / "pictures.u8").write_bytes(b"being written by another process")
    clear(cache)
    assert (elsewhere / "pictures.u8").read_bytes() == b"precious"
    assert (packs / "notes" / "meta.json").exists()
    assert (packs / "meta.json").exists()
    assert [path.name for path in (packs / key).iterdir()] == ["mine.txt"]
    assert (fresh / "pictures.u8").exists()
    for path in (fresh, fresh / "pictures.u8"):
        os.utime(path, (1, 1))
    clear(cache)
    assert not fresh.exists()
