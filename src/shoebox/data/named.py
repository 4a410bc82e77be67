"""Data sets by name, made into folders of picture files in the cache: from there on they are like anyone's pictures.

Each is a function (folder to fill, folder for downloads, *, options) that writes `<class>/<picture>` or
`<part>/<class>/<picture>`. Adding one is adding a function; its docstring's first line is what `shoebox data` says.
Downloads are torchvision's: its addresses and checksums. Nothing is unpickled: CIFAR's binary edition is read instead.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.progress import QUIET, Progress
from shoebox.base.registry import Registry
from shoebox.base.torchvision import import_torchvision
from shoebox.data.archive import unpack
from shoebox.data.names import one_line
from shoebox.data.stash import stash

SOURCES: Registry[Callable[..., None]] = Registry("data set")

# The files of a named set get this time of change, so that its fingerprint is the same on every machine and day.
_CHANGED = 946_684_800  # 2000-01-01


def named_folder(spec: str, cache: Path, *, progress: Progress = QUIET) -> Path:
    """The folder of a named data set, downloaded and written on first use.

    Args:
        spec: a name of `SOURCES`, with its options: "imagenette(size='320px')".
        cache: the result is in its `named`; downloads are kept until it is complete.

    Raises:
        UsageError: there is no such data set or option.
        ShoeboxError: it cannot be downloaded or written.
    """
    name, options = SOURCES.check(spec)
    given = {**SOURCES.options(name), **options}
    label = "-".join([name, *(folder_name(str(value)) for value in given.values())])
    downloads = cache / "downloads" / label

    def build(folder: Path) -> None:
        progress.say(f"preparing the data set {label}")
        SOURCES.build(spec, folder, downloads)

    try:
        result = stash(cache / "named" / label, build)
    except OSError as e:
        raise ShoeboxError(f"the data set {label} cannot be written to {one_line(cache)} ({e.strerror or e})") from e
    shutil.rmtree(downloads, ignore_errors=True)
    return result


@SOURCES.register
def digits(folder: Path, downloads: Path) -> None:
    """1,797 handwritten digits, 8 × 8 grey (scikit-learn's; offline)."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pictures = np.rint(data.images * (255 / 16)).astype(np.uint8)
    write_pictures(folder, zip(pictures, map(str, data.target), strict=True))


@SOURCES.register
def cifar10(folder: Path, downloads: Path) -> None:
    """60,000 photos of 10 kinds of things, 32 × 32, train and test (Krizhevsky 2009; 162 MB)."""
    _cifar(folder, downloads, "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", "batches.meta.txt", skip=0)


@SOURCES.register
def cifar100(folder: Path, downloads: Path) -> None:
    """60,000 photos of 100 kinds of things, 32 × 32, train and test (Krizhevsky 2009; 161 MB)."""
    # Each record starts with a coarse label, which is passed over.
    _cifar(
        folder, downloads, "cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", "fine_label_names.txt", skip=1
    )


def fashion_mnist(folder: Path, downloads: Path) -> None:
    """70,000 pictures of 10 kinds of clothes, 28 × 28 grey, train and test (Xiao 2017; 30 MB)."""
    for part, train in (("train", True), ("test", False)):
        data = _downloaded("FashionMNIST", downloads, train=train)
        labels = [data.classes[i] for i in data.targets.tolist()]
        write_pictures(folder / part, zip(data.data.numpy(), labels, strict=True))


@SOURCES.register
def flowers102(folder: Path, downloads: Path) -> None:
    """8,189 photos of 102 kinds of flowers, train, val and test (Nilsback 2008; 345 MB)."""
    for part in ("train", "val", "test"):
        data = _downloaded("Flowers102", downloads, split=part, loader=Path)
        copy_pictures(folder / part, ((path, data.classes[label]) for path, label in data))


def oxford_pets(folder: Path, downloads: Path) -> None:
    """7,349 photos of 37 breeds of cats and dogs, train and test (Parkhi 2012; 792 MB)."""
    for part, split in (("train", "trainval"), ("test", "test")):
        data = _downloaded("OxfordIIITPet", downloads, split=split)
        # The one set whose loader cannot be replaced; decoding and encoding again would cost quality.
        copy_pictures(folder / part, zip(data._images, (data.classes[i] for i in data._labels), strict=True))


@SOURCES.register
def imagenette(folder: Path, downloads: Path, *, size: str = "160px") -> None:
    """13,394 photos of 10 easy classes of ImageNet, train and val; size: 160px, 320px or full (fast.ai; 99 MB)."""
    if size not in ("160px", "320px", "full"):
        raise UsageError(f"imagenette has no size {size!r}: choose from 160px, 320px, full")
    for part in ("train", "val"):
        data = _downloaded("Imagenette", downloads, split=part, size=size, loader=Path)
        copy_pictures(folder / part, ((path, data.classes[label][0]) for path, label in data))


SOURCES.register(fashion_mnist, name="fashion-mnist")
SOURCES.register(oxford_pets, name="oxford-pets")


def write_pictures(folder: Path, pictures: Iterable[tuple[NDArray[np.uint8], str]]) -> None:
    """Write (height, width) or (height, width, 3) uint8 pictures as PNG files into folders named for their classes."""
    for i, (picture, label) in enumerate(pictures):
        path = _place(folder, label) / f"{i:05d}.png"
        Image.fromarray(picture).save(path)
        os.utime(path, (_CHANGED, _CHANGED))


def copy_pictures(folder: Path, files: Iterable[tuple[Path, str]]) -> None:
    """Copy picture files, unchanged, into folders named for their classes."""
    for path, label in files:
        copy = _place(folder, label) / Path(path).name
        shutil.copyfile(path, copy)
        os.utime(copy, (_CHANGED, _CHANGED))


def folder_name(label: str) -> str:
    """A class name as the name of one folder: T-shirt/top becomes T-shirt-top."""
    name = "".join("-" if c in "/\\:\0" else c for c in label).strip()
    return name if name and not name.startswith(".") else f"_{name}"


def _place(folder: Path, label: str) -> Path:
    place = folder / folder_name(label)
    place.mkdir(parents=True, exist_ok=True)
    return place


def _cifar(folder: Path, downloads: Path, archive: str, checksum: str, names: str, *, skip: int) -> None:
    """Source of the format: https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version"."""
    vision = import_torchvision()
    with _online():
        vision.datasets.utils.download_url(
            f"https://www.cs.toronto.edu/~kriz/{archive}", str(downloads), archive, checksum
        )
    unpacked, _ = unpack(downloads / archive, downloads)
    (inner,) = (path for path in unpacked.iterdir() if path.is_dir())
    classes = (inner / names).read_text("ascii").split()
    for path in sorted(inner.glob("*.bin")):
        records = np.fromfile(path, dtype=np.uint8).reshape(-1, skip + 1 + 3072)
        pictures = records[:, skip + 1 :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        part = "test" if path.stem.startswith("test") else "train"
        labels = [classes[i] for i in records[:, skip].tolist()]
        for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            file = _place(folder / part, label) / f"{path.stem}-{i:05d}.png"
            Image.fromarray(np.ascontiguousarray(picture)).save(file)
            os.utime(file, (_CHANGED, _CHANGED))


def _downloaded(kind: str, downloads: Path, **options: Any) -> Any:
    vision = import_torchvision()
    with _online():
        return getattr(vision.datasets, kind)(str(downloads), download=True, **options)


@contextlib.contextmanager
def _online() -> Iterator[None]:
    """torchvision's chatter goes to stderr, and a failed download says what to do."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (OSError, RuntimeError) as e:  # urllib's errors are OSErrors; a wrong checksum is a RuntimeError
        raise ShoeboxError(
            f"the download failed ({one_line(str(getattr(e, 'reason', None) or e))}): check the network and try again, "
            "or fetch the data set elsewhere and give its folder or archive instead of its name"
        ) from e
