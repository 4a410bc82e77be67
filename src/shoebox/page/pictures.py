"""The pictures that a run was made with, by number, as its `split.csv` lists them.

In: a run's folder. Out: examples that it has not learnt from, and any of its pictures as a small WebP file, or as a PNG
file of the same pixels. Stored files are decoded and encoded anew: none is ever sent as it is.
"""

from __future__ import annotations

import csv
import functools
import io
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from shoebox.data.picture import decode

EXAMPLES = 8
LARGE = 2000
"""Pixels of the longer side up to which an example is sent as it is."""


@dataclass(frozen=True)
class Owned:
    """One picture of a run.

    Attributes:
        file: where it lies.
        label: the name of its class; "" without one.
        part: "train", "val", "test" or "pile".
    """

    file: Path
    label: str
    part: str


def run_pictures(run: Path) -> tuple[Owned, ...]:
    """All pictures of a run that lie below the folder it was trained on; none where its record is incomplete."""
    try:
        changed = (run / "split.csv").stat().st_mtime_ns
    except OSError:
        return ()
    return _read(run, changed)


@functools.lru_cache(maxsize=2)
def _read(run: Path, changed: int) -> tuple[Owned, ...]:
    del changed
    try:
        root = Path(json.loads((run / "run.json").read_text(encoding="utf-8"))["root"])
        with (run / "split.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = [(row["path"], row["label"], row["part"]) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return ()
    return tuple(Owned(root / path, label.removeprefix("'"), part) for path, label, part in rows if _inside(path))


def _inside(path: str) -> bool:
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts and "\0" not in path


def examples(pictures: tuple[Owned, ...], most: int = EXAMPLES) -> list[int]:
    """Numbers of pictures to try, of the test part or else of validation: one of each class, then another of each."""
    for part in ("test", "val"):
        of_class: dict[str, list[int]] = defaultdict(list)
        for row, picture in enumerate(pictures):
            if picture.part == part:
                of_class[picture.label].append(row)
        if of_class:
            groups = list(of_class.values())
            if len(groups) > most:
                groups = [groups[i * len(groups) // most] for i in range(most)]
            # From the middle of each, since the first files of a folder are often alike.
            turns = [(turn, rows[(len(rows) // 2 + turn) % len(rows)]) for rows in groups for turn in range(len(rows))]
            chosen = [row for _, row in sorted(turns, key=lambda one: one[0])]
            return [row for row in chosen[: 4 * most] if pictures[row].file.is_file()][:most]
    return []


def small(file: Path, side: int) -> bytes:
    """A picture as WebP, its longer side at most `side` pixels.

    Raises:
        Unreadable: as `decode`.
    """
    from PIL import Image

    image = Image.fromarray(decode(file, at_least=side))
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    made = io.BytesIO()
    image.save(made, "WEBP", quality=84, method=2, lossless=max(image.size) <= 64)
    return made.getvalue()


def whole(file: Path) -> bytes:
    """A picture's very pixels as PNG; one larger than `LARGE` is made smaller.

    Raises:
        Unreadable: as `decode`.
    """
    from PIL import Image

    image = Image.fromarray(decode(file))
    image.thumbnail((LARGE, LARGE), Image.Resampling.LANCZOS)
    made = io.BytesIO()
    image.save(made, "PNG", compress_level=1)
    return made.getvalue()
