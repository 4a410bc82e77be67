import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoebox.base.errors import MissingExtra, ShoeboxError, UsageError
from shoebox.data import named
from shoebox.data.picture import decode
from shoebox.data.sources import SOURCES, open_source
from shoebox.data.split import split


def test_digits_are_written_once_and_split_as_any_folder(tmp_path: Path) -> None:
    index = open_source("digits", cache=tmp_path)
    assert len(index) == 1797 and index.classes == tuple("0123456789") and set(index.part.tolist()) == {""}
    assert decode(index.file(0)).shape == (8, 8, 3)
    assert max(decode(index.file(i)).max() for i in range(20)) == 255
    again = open_source("digits", cache=tmp_path)
    assert again.fingerprint() == index.fingerprint()
    assert split(index).counts().sum().to_dict() == {"train": 1439, "val": 179, "test": 179}


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_source_says_what_it_is_and_fails_in_one_line_offline(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (SOURCES[name].__doc__ or "").strip()
    if name == "digits":
        return
    import socket
    import urllib.error

    from shoebox.base.torchvision import import_torchvision

    def offline(*args: Any, **options: Any) -> None:
        raise urllib.error.URLError(socket.gaierror(-2, "Name or service not known"))

    monkeypatch.setattr("urllib.request.urlopen", offline)
    import_torchvision()
    with pytest.raises(ShoeboxError, match=r"download failed .*check the network") as caught:
        open_source(name, cache=tmp_path)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "named").iterdir())


def test_unknown_names_and_options_say_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'cifar10'"):
        open_source("cifar-10", cache=tmp_path)
    with pytest.raises(UsageError, match="its options are size='160px'"):
        open_source("imagenette(side=3)", cache=tmp_path)
    with pytest.raises(UsageError, match="choose from 160px"):
        open_source("imagenette(size=3)", cache=tmp_path)


def test_cifar_is_read_from_its_binary_edition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tarfile

    inner = tmp_path / "cifar-10-batches-bin"
    inner.mkdir()
    (inner / "batches.meta.txt").write_text("airplane\ncat\n\n")
    planes = np.zeros((2, 3, 32, 32), np.uint8)
    planes[1, 0] = 255
    records = np.concatenate([np.array([[0], [1]], np.uint8), planes.reshape(2, -1)], axis=1)
    records.tofile(inner / "data_batch_1.bin")
    records[:1].tofile(inner / "test_batch.bin")

    def download(url: str, root: str, name: str, checksum: str) -> None:
        Path(root).mkdir(parents=True)
        with tarfile.open(Path(root) / name, "w:gz") as file:
            file.add(inner, inner.name)

    utilities = types.SimpleNamespace(download_url=download)
    vision = types.SimpleNamespace(datasets=types.SimpleNamespace(utils=utilities))
    monkeypatch.setattr(named, "import_torchvision", lambda: vision)
    index = open_source("cifar10", cache=tmp_path / "cache")
    assert index.counts().to_dict() == {"train": {"airplane": 1, "cat": 1}, "test": {"airplane": 1, "cat": 0}}
    cat = index.paths.index("train/cat/data_batch_1-00001.png")
    assert (decode(index.file(cat)) == [255, 0, 0]).all()
    assert not (tmp_path / "cache/downloads/cifar10").exists()


def test_copied_pictures_keep_their_bytes_and_odd_classes_get_a_folder(
    make_picture: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_picture(tmp_path / "a.png")
    named.copy_pictures(tmp_path / "out", [(source, "T-shirt/top"), (source, "..")])
    assert (tmp_path / "out/T-shirt-top/a.png").read_bytes() == source.read_bytes()
    assert (tmp_path / "out/_../a.png").exists()


class Table(list[dict[str, Any]]):
    features: dict[str, Any]

    def cast_column(self, name: str, feature: Any) -> "Table":
        assert not feature.decode
        return self


class Picture:
    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


class ClassLabel:
    def int2str(self, value: int) -> str:
        return ["cat", "dog"][value]


@pytest.fixture
def hub(make_picture: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Stands in for the library `datasets`."""
    content = make_picture(tmp_path / "a.png").read_bytes()
    tables = {}
    for part, count in (("train", 6), ("validation", 2)):
        tables[part] = Table({"image": {"bytes": content, "path": None}, "label": i % 2} for i in range(count))
        tables[part].features = {"image": Picture(), "label": ClassLabel()}
    fake: Any = types.ModuleType("datasets")
    fake.Image, fake.ClassLabel, fake.load_dataset = Picture, ClassLabel, lambda name: tables
    monkeypatch.setitem(sys.modules, "datasets", fake)
    yield fake


def test_hub_sets_become_folders(hub: Any, tmp_path: Path) -> None:
    index = open_source("hf:owner/name", cache=tmp_path)
    assert index.counts().to_dict() == {"train": {"cat": 3, "dog": 3}, "val": {"cat": 1, "dog": 1}}
    hub.load_dataset = None
    assert len(open_source("hf:owner/name", cache=tmp_path)) == 8, "written once"


def test_hub_sets_that_cannot_be_had_say_why(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> None:
        raise FileNotFoundError("Couldn't find 'owner/name'\nmore")

    hub.load_dataset = gone
    with pytest.raises(
        ShoeboxError, match=r"hf:owner/name cannot be fetched \(Couldn't find 'owner/name'\): check its name"
    ):
        open_source("hf:owner/name", cache=tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"shoebox-classifier\[hf\]"):
        open_source("hf:owner/name", cache=tmp_path)
