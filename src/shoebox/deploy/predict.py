"""Prediction over many files: found, scored as a stream, written as they come.

In: a run's folder or an exported one, and files, folders or globs. Out: rows, one a file, one by one or in a CSV, JSON
Lines or Parquet file. Nothing here imports torch; a backend that needs it does.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.progress import QUIET, Progress, printable
from shoebox.base.resumable import resumable
from shoebox.base.tables import SUFFIXES, Row
from shoebox.data.picture import Unreadable
from shoebox.data.tree import read_tree
from shoebox.deploy.backends import Scores, answers, read_config
from shoebox.deploy.certificate import identify
from shoebox.deploy.fastest import open_backend
from shoebox.deploy.views import look_again, may_be_mirrored
from shoebox.evaluation.answers import answer, columns, numbers


def find_files(places: Sequence[str]) -> list[Path]:
    """The picture files that files, folders and globs name, each once, folders in the order of their names; "-" stands
    for a list on stdin.

    Raises:
        UsageError: a place is not there, or matches nothing.
        ShoeboxError: not one picture was found.
    """
    found: dict[Path, None] = {}
    for place in places:
        path = Path(place)
        if place == "-":
            found |= dict.fromkeys(Path(name) for name in read_list(sys.stdin.buffer))
        elif path.is_dir():
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


def read_list(file: IO[bytes]) -> list[str]:
    """Names of files from a list, one a line or, where there are zero bytes, one between two of them."""
    data = file.read()
    lines = data.split(b"\0") if b"\0" in data else data.splitlines()
    return [os.fsdecode(line) for line in lines if line]


def predict_rows(
    run: Path, places: Sequence[str], top: int = 3, *, device: str = "auto", tta: float | None = None
) -> Iterator[Row]:
    """A row for every file that `places` name, in order, as they are ready: path, label, confidence, …, status.

    Args:
        run: a run's folder, or an exported one, which needs no torch.
        places: as for `find_files`.
        top: how many classes to name.
        device: "auto" for the fastest certified way to run the classifier on this machine.
        tta: pictures with less confidence than this are looked at again, shifted and, if the classifier was trained on
            mirrored pictures and does not look at both sides anyway, mirrored; the answers are averaged.
    """
    yield from _rows(run, find_files(places), top, device, tta)


def _rows(run: Path, files: Sequence[Path], top: int, device: str, tta: float | None) -> Iterator[Row]:
    backend = open_backend(run, device, count=len(files))
    scores: Callable[[NDArray[np.uint8]], Scores] = backend.scores
    if tta is not None:
        scores = look_again(scores, tta, mirrored=may_be_mirrored(read_config(run)))
    for file, found in answers(backend, files, scores):
        if isinstance(found, Unreadable):
            yield {"path": str(file), "status": found.reason}
        else:
            yield answer(str(file), found, backend.classes, top)


def predict_text(
    run: Path,
    places: Sequence[str],
    top: int = 3,
    *,
    device: str = "auto",
    tta: float | None = None,
    write: Callable[[str], object],
) -> None:
    """Write a line for each file: its name, then the classes with how sure the classifier is.

    Raises:
        ShoeboxError: not one file could be read; each has had its line.
    """
    read = 0
    for row in predict_rows(run, places, top, device=device, tta=tta):
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
    tta: float | None = None,
    progress: Progress = QUIET,
) -> dict[str, Any]:
    """Predict, and write the rows to `out`; without `out`, give them back.

    A call that was interrupted is continued by the same call: the rows it had are kept beside `out` until then.

    Returns:
        pictures, failed (numbers), and `out` (path) or `predictions` (rows).

    Raises:
        UsageError: `out` is of another kind than .csv, .jsonl or .parquet, or its folder is not there.
        ShoeboxError: not one file could be read.
    """
    if out is not None and (out.suffix.lower() not in SUFFIXES or not out.parent.is_dir()):
        raise UsageError(f"--out {out}: expected a file ending in {', '.join(SUFFIXES)} in a folder that is there")
    files = find_files(places)
    names = columns(len(read_config(run)["label_names"]), top)
    statuses: dict[str, str] = {}
    kept: list[Row] = []
    with contextlib.ExitStack() as stack:
        write: Callable[[Row], object] = kept.append
        if out is not None:
            mark = hashlib.blake2b(f"{identify(run)} {names} {tta}".encode(), digest_size=6).hexdigest()
            table = stack.enter_context(resumable(out, names, numbers(names), mark))
            statuses, write = dict(table.done), table.write
            if statuses:
                progress.say(f"{len(statuses):,} rows of an interrupted call are there already")
        waiting = [file for file in files if str(file) not in statuses]
        rows = _rows(run, waiting, top, device, tta) if waiting else ()
        for row in progress.track(rows, len(waiting), "predicting"):
            statuses[row["path"]] = row["status"]
            write(row)
        failed = sum(status != "ok" for status in statuses.values())
        if failed == len(statuses):
            raise ShoeboxError("not one of these files could be read as a picture")
    counts = {"pictures": len(statuses), "failed": failed}
    return {**counts, "out": str(out)} if out else {**counts, "predictions": kept}


def describe(row: Row) -> str:
    """The answer of a row in words."""
    if row["status"] != "ok":
        return f"not read ({row['status']})"
    ranks = ["", *(f"_{n}" for n in range(2, len(row)))]
    return ", ".join(f"{row[f'label{r}']} {row[f'confidence{r}']:.1%}" for r in ranks if f"label{r}" in row)
