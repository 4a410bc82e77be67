"""Loading: pictures a second of flip + crop batches, Shoebox's pack against torchvision's ImageFolder + DataLoader.

The first pass, packing, is compared with Pillow decoding the same files in a process a processor, and nothing else: the
median of the ratios of several turns, since either's speed differs by a third from one turn to the next.
"""

import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from shoebox.base.runtime import memory_kept
from shoebox.base.torchvision import import_torchvision
from shoebox.data.augment import Draw, compose
from shoebox.data.batches import batches, order
from shoebox.data.pack import pack
from shoebox.data.preprocess import Preprocess
from shoebox.data.sources import open_source
from shoebox.training.planner import usual_side


def measure(data: str, batch_size: int = 256, seconds: float = 10.0, turns: int = 7) -> dict[str, float]:
    """First pass (packing, cold cache folder) and later passes, and the ratios."""
    index = open_source(data)
    train = index.only("train") if (index.part == "train").any() else index
    side = usual_side(train)
    files = [str(train.root / path) for path in train.paths]
    cache = Path(tempfile.mkdtemp(prefix="shoebox-bench-"))
    decoding, packing = [], []
    for turn in range(turns):
        decoding.append(_pillow(files))
        start = time.perf_counter()
        packed = pack(train, Preprocess(store=side, size=side), cache=cache / str(turn))
        packing.append(len(train) / (time.perf_counter() - start))
        if turn < turns - 1:
            packed.close()
            shutil.rmtree(cache / str(turn))  # what is still being written to the disk would be in the way
    augment = compose(["flip", f"translate(pixels={max(1, side // 8)})"])
    with memory_kept():  # as in training
        ours = _ours(packed, augment, batch_size, seconds)
    theirs = _imagefolder(train.root, side, batch_size, seconds)
    packed.close()
    shutil.rmtree(cache)
    return {
        "side_px": side,
        "pillow_per_second": statistics.median(decoding),
        "packing_per_second": statistics.median(packing),
        "packing_share": statistics.median(rate / pillow for rate, pillow in zip(packing, decoding, strict=True)),
        "later_epochs_per_second": ours,
        "imagefolder_per_second": theirs,
        "later_epochs_ratio": ours / theirs,
        "packing_ratio": statistics.median(packing) / theirs,
    }


def _pillow(files: list[str]) -> float:
    count = os.cpu_count() or 1
    with multiprocessing.get_context("fork").Pool(count) as pool:
        start = time.perf_counter()
        pool.map(_decode, [files[i::count] for i in range(count)], chunksize=1)
        return len(files) / (time.perf_counter() - start)


def _decode(files: list[str]) -> None:
    for file in files:
        with Image.open(file) as picture:
            picture.convert("RGB")


def _ours(packed, augment, batch_size: int, seconds: float) -> float:
    seen, epoch, start = 0, 0, time.perf_counter()
    classes = len(packed.index.classes)
    while time.perf_counter() - start < seconds:
        rows = order(len(packed), seed=0, epoch=epoch)
        for batch in batches(packed, rows, batch_size=batch_size):
            draw = Draw(torch.Generator().manual_seed(seen), epoch, torch.from_numpy(batch.rows))
            augment(batch.pictures, F.one_hot(batch.labels, classes).float(), draw)
            seen += len(batch.labels)
            if time.perf_counter() - start >= seconds:
                break
        epoch += 1
    return seen / (time.perf_counter() - start)


def _imagefolder(root: Path, side: int, batch_size: int, seconds: float) -> float:
    torchvision = import_torchvision()
    T = torchvision.transforms
    steps = [T.Resize((side, side)), T.RandomHorizontalFlip(), T.RandomCrop(side, side // 8), T.ToTensor()]
    folder = next((p for p in (root / "train", root / "training") if p.is_dir()), root)
    dataset = torchvision.datasets.ImageFolder(str(folder), T.Compose(steps))
    loader = torch.utils.data.DataLoader(dataset, batch_size, shuffle=True, num_workers=2, persistent_workers=True)
    batch = iter(loader)
    next(batch)
    seen, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        try:
            pictures, _ = next(batch)
        except StopIteration:
            batch = iter(loader)
            continue
        seen += len(pictures)
    return float(np.divide(seen, time.perf_counter() - start))
