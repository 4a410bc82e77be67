"""Planted faults: copies changed in seven ways and put in three places, and shortcuts, among real pictures.

How many of the copies `check` finds with their originals (recall), how many of the pairs it finds with a copy are right
(precision), and whether a shortcut is told where there is one and not where there is none.
"""

import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from shoebox.data import checks
from shoebox.data.check import gather, run_checks
from shoebox.data.checks.duplicates import same_pixels
from shoebox.data.index import ImageIndex
from shoebox.data.sources import open_source
from shoebox.data.survey import survey

KEPT, PLANTED = 6_000, 600  # pictures of the set that are taken, and copied in each way
PLACES = ("same class", "other class", "other part")
Picture = Image.Image


def _jpeg(image: Picture, quality: int = 90) -> Picture:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def _smaller(image: Picture) -> Picture:
    size = (max(1, round(0.6 * image.width)), max(1, round(0.6 * image.height)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _cropped(image: Picture) -> Picture:
    across, down = max(1, round(0.05 * image.width)), max(1, round(0.05 * image.height))
    return image.crop((across, 0, image.width, image.height - down))


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "copied": lambda p: p,
    "quality 30": lambda p: _jpeg(p, 30),
    "60 %": lambda p: _jpeg(_smaller(p)),
    "mirrored": lambda p: _jpeg(p.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "cropped by 5 %": lambda p: _jpeg(_cropped(p)),
    "20 % brighter": lambda p: _jpeg(ImageEnhance.Brightness(p).enhance(1.2)),
    "20 % darker": lambda p: _jpeg(ImageEnhance.Brightness(p).enhance(0.8)),
}


def measure(data: str) -> dict[str, Any]:
    """By place and change: recall and precision. By shortcut: the classes told."""
    index = open_source(data)
    index = index.take(np.flatnonzero(index.labels >= 0))
    kept = np.sort(np.random.default_rng(0).permutation(len(index))[:KEPT])
    index = index.take(kept)
    folder = Path(tempfile.mkdtemp(prefix="shoebox-planted-"))
    try:
        copies = {place: _copies(index, folder / "copies", place) for place in PLACES}
        return {"pictures": len(index), "copies": copies, "shortcuts": _shortcuts(index, folder / "shortcuts")}
    finally:
        shutil.rmtree(folder)


def _lay(index: ImageIndex, root: Path, change: Callable[[int, Path], bool]) -> None:
    """Copies of the files as part/class/number.ending, unless `change` makes them itself."""
    for row in range(len(index)):
        place = root / (index.part[row] or "train") / index.classes[index.labels[row]]
        place.mkdir(parents=True, exist_ok=True)
        target = place / f"{row:06}{index.file(row).suffix}"
        if not change(row, target):
            shutil.copyfile(index.file(row), target)


def _copies(index: ImageIndex, root: Path, place: str) -> dict[str, dict[str, float]]:
    shutil.rmtree(root, ignore_errors=True)
    _lay(index, root, lambda row, target: False)
    draw = np.random.default_rng(1)
    for number, change in enumerate(CHANGES.values()):
        for row in draw.permutation(len(index))[:PLANTED].tolist():
            part, label = index.part[row] or "train", int(index.labels[row])
            if place == "other class":
                label = (label + 1) % len(index.classes)
            if place == "other part":
                part = "val" if part != "val" else "train"
            target = root / part / index.classes[label] / f"{row:06}-{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            change(Image.open(index.file(row)).convert("RGB")).save(target)
    found = open_source(root)
    evidence = gather(found, survey(found, cache=root / "cache"))
    pairs = np.unique(np.sort(np.concatenate([same_pixels(evidence), evidence.twins.pairs]), 1), axis=0)
    names = np.array([Path(path).stem for path in found.paths])
    family = np.array([int(name.partition("-")[0]) for name in names])
    kind = np.array([int(name.partition("-")[2] or -1) for name in names])
    clusters = evidence.twins.clusters()
    table = {}
    for number, name in enumerate(CHANGES):
        mine = np.flatnonzero(kind == number)
        originals = dict(zip(family[kind == -1].tolist(), np.flatnonzero(kind == -1).tolist(), strict=True))
        recall = np.mean([clusters[row] == clusters[originals[family[row]]] for row in mine.tolist()])
        about = pairs[(kind[pairs] == number).any(1)]
        right = family[about[:, 0]] == family[about[:, 1]]
        table[name] = {"recall": float(recall), "precision": float(right.mean()), "pairs": len(about)}
    return table


def _framed(image: Picture) -> Picture:
    ImageDraw.Draw(image).rectangle((0, 0, image.width - 1, image.height - 1), outline=(200, 40, 40), width=2)
    return image


def _shortcuts(index: ImageIndex, root: Path) -> dict[str, list[str]]:
    """What is told of the set as it is, with one class saved at quality 60, and with one class framed."""
    spoilt = int(np.bincount(index.labels).argmax())
    told = {}
    for name in ("none", "quality 60", "border"):

        def change(row: int, target: Path, name: str = name) -> bool:
            if name == "none" or index.labels[row] != spoilt:
                return False
            image = Image.open(index.file(row)).convert("RGB")
            if name == "border":
                tables = Image.open(index.file(row)).quantization  # type: ignore[attr-defined]
                _framed(image).save(target, "JPEG", qtables=tables)
            else:
                image.save(target, "JPEG", quality=60)
            return True

        shutil.rmtree(root, ignore_errors=True)
        _lay(index, root, change)
        found = open_source(root)
        report = run_checks(gather(found, survey(found, cache=root / "cache")), [checks.shortcuts.shortcuts.__name__])
        told[name] = [f"{row.label}: {row.detail}" for finding in report.findings for row in finding.rows]
    return told
