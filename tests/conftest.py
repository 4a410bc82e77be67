"""Small pictures and folders of them, made on the spot, and a cache that is not the person's own."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

# Tests are many small jobs: on a busy machine, two threads that wait for each other are slower than one.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole commands first: they are the longest, and with two workers the last test should be a short one."""
    items.sort(key=lambda item: not item.path.match("test_docs.py") and not item.path.match("test_kill.py"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def make_picture() -> Callable[..., Path]:
    """make_picture(path, size=(20, 16), seed=0): a noisy picture of (width, height) in the format of its extension."""

    def make(path: Path, size: tuple[int, int] = (20, 16), seed: int = 0) -> Path:
        width, height = size
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    return make


@pytest.fixture
def make_folder(make_picture: Callable[..., Path]) -> Callable[..., Path]:
    """make_folder(root, {"cat": 5, "train/dog": 4}, size=(20, 16)): pictures 0.png, 1.png, … in each; returns root.

    Every picture of a class has a tint of its own on top of noise, so that a network can tell the classes apart.
    """

    def make(root: Path, counts: Mapping[str, int], size: tuple[int, int] = (20, 16)) -> Path:
        width, height = size
        names = sorted({folder.rpartition("/")[2] for folder in counts})
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            tint = np.random.default_rng(names.index(folder.rpartition("/")[2])).integers(0, 200, 3)
            for i in range(count):
                noise = np.random.default_rng(i).integers(0, 56, (height, width, 3))
                Image.fromarray((tint + noise).astype(np.uint8)).save(root / folder / f"{i}.png")
        return root

    return make
