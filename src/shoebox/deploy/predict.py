"""Prediction over many files: found, scored as a stream, written as they come.

In: a classifier and files, folders or globs. Out: rows, one a file, in a CSV, JSON Lines or Parquet file or one by one.
"""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.progress import QUIET, Progress, printable
from shoebox.base.tables import SUFFIXES, Row, writer
from shoebox.classifier import Classifier
from shoebox.data.tree import read_tree


def find_files(places: Sequence[str]) -> list[Path]:
    """The picture files that files, folders and globs name, each once, folders in the order of their names.

    Raises:
        UsageError: a place is not there, or matches nothing.
        ShoeboxError: not one picture was found.
    """
    found: dict[Path, None] = {}
    for place in places:
        path = Path(place)
        if path.is_dir():
            found |= dict.fromkeys(path / name for name in read_tree(path).files)
        elif os.path.lexists(path):
            found[path] = None
        else:
            matches = sorted(glob.glob(place, recursive=True))  # noqa: PTH207 (the pattern may be absolute)
            if not matches:
                raise UsageError(f"{place}: no such file or folder, and no file matches it as a pattern")
            found |= dict.fromkeys(Path(match) for match in matches if not Path(match).is_dir())
    if not found:
        raise ShoeboxError(f"no pictures in {', '.join(places)}")
    return list(found)


def predict_rows(run: Path, places: Sequence[str], top: int = 3, *, device: str = "auto") -> Iterator[Row]:
    """Rows as `Classifier.predictions` gives them, for every file that `places` name."""
    files = find_files(places)
    yield from Classifier.load(run, device).predictions(files, top)


def predict_text(
    run: Path, places: Sequence[str], top: int = 3, *, device: str = "auto", write: Callable[[str], object]
) -> None:
    """Write a line for each file: its name, then the classes with how sure the classifier is.

    Raises:
        ShoeboxError: not one file could be read; each has had its line.
    """
    read = 0
    for row in predict_rows(run, places, top, device=device):
        read += row["status"] == "ok"
        write(printable(f"{row['path']}: {describe(row)}").replace("\n", "\\n"))
    if not read:
        raise ShoeboxError("not one of these files could be read as a picture")


def predict_files(
    run: Path,
    places: Sequence[str],
    top: int = 3,
    *,
    out: Path | None = None,
    device: str = "auto",
    progress: Progress = QUIET,
) -> dict[str, Any]:
    """Predict, and write the rows to `out` as they come; without `out`, give them back.

    Returns:
        pictures, failed (numbers), and `out` (path) or `predictions` (rows).

    Raises:
        UsageError: `out` is of another kind than .csv, .jsonl or .parquet, or its folder is not there.
        ShoeboxError: not one file could be read.
    """
    if out is not None and (out.suffix.lower() not in SUFFIXES or not out.parent.is_dir()):
        raise UsageError(f"--out {out}: expected a file ending in {', '.join(SUFFIXES)} in a folder that is there")
    files = find_files(places)
    classifier = Classifier.load(run, device)
    counts = {"pictures": 0, "failed": 0}
    kept: list[Row] = []
    columns = classifier.columns(top)
    numbers = [name for name in columns if name.startswith("confidence")]
    with contextlib.ExitStack() as stack:
        write = stack.enter_context(writer(out, columns, numbers)) if out else kept.append
        for row in progress.track(classifier.predictions(files, top), len(files), "predicting"):
            counts["pictures"] += 1
            counts["failed"] += row["status"] != "ok"
            write(row)
        if counts["failed"] == counts["pictures"]:
            raise ShoeboxError("not one of these files could be read as a picture")
    return {**counts, "out": str(out)} if out else {**counts, "predictions": kept}


def describe(row: Row) -> str:
    """The answer of a row in words."""
    if row["status"] != "ok":
        return f"not read ({row['status']})"
    ranks = ["", *(f"_{n}" for n in range(2, len(row)))]
    return ", ".join(f"{row[f'label{r}']} {row[f'confidence{r}']:.1%}" for r in ranks if f"label{r}" in row)
