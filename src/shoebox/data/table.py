"""CSV, JSON Lines and Parquet files that say which picture shows what.

The columns are found by name, whatever their case and order: the path in `path`, `file_name`, `filename`, `file`,
`filepath` or `image`; the class in `label`, `class`, `category`, `class_name`, `target` or `species`; and, if there is
one, the part in `part`, `split`, `subset` or `set`. Paths are relative to the table's own folder, or absolute.
"""

import contextlib
import csv
import itertools
import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from shoebox.base.errors import ShoeboxError
from shoebox.data.assembly import Row, assemble
from shoebox.data.index import ImageIndex, Skipped, listed
from shoebox.data.names import one_line, part_of

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_PATH = ("path", "file_name", "filename", "file", "filepath", "image")
_LABEL = ("label", "class", "category", "class_name", "target", "species")
_PART = ("part", "split", "subset", "set")

_Record = tuple[int, dict[str, Any]]


def is_table(path: Path) -> bool:
    """Whether a file is a table by its extension."""
    return path.suffix.lower() in SUFFIXES


def open_table(path: Path, *, confined: bool = False) -> ImageIndex:
    """The pictures that a table lists.

    Raises:
        ShoeboxError: the table cannot be read, lacks a column, or lists no picture that exists.
    """
    rows, skipped = read_table(path, path.parent, confined=confined)
    return assemble(path.parent, rows, skipped=skipped)


def find_metadata(folder: Path) -> Path | None:
    """The table `metadata.csv`, `.jsonl` or `.parquet` in a folder, if it has one that names a class."""
    for suffix in (".csv", ".jsonl", ".parquet"):
        path = folder / f"metadata{suffix}"
        if path.is_file() and names_classes(path):
            return path
    return None


def names_classes(path: Path) -> bool:
    """Whether a table has a column for the path and one for the class."""
    columns = _columns(path)
    return _column(columns, _PATH) is not None and _column(columns, _LABEL) is not None


def read_table(path: Path, root: Path, *, confined: bool = False) -> tuple[list[Row], list[Skipped]]:
    """The rows of a table whose pictures exist, and the others.

    Args:
        path: the table.
        root: the rows' paths are made relative to this where they lie below it.
        confined: refuse rows that lead out of `root`.

    Raises:
        ShoeboxError: it cannot be read, or lacks the column of the path or the class.
    """
    columns = _columns(path)
    path_column, label_column = _column(columns, _PATH), _column(columns, _LABEL)
    for column, kind, choices in ((path_column, "path", _PATH), (label_column, "class", _LABEL)):
        if column is None:
            raise ShoeboxError(
                f"{one_line(path)}: no column for the {kind} (one of {', '.join(choices)}); "
                f"its columns are {listed(columns) or 'none'}"
            )
    part_column = _column(columns, _PART)
    folder, root = path.parent.absolute(), root.absolute()
    rows: dict[str, Row] = {}
    skipped: list[Skipped] = []
    wanted = [str(column) for column in (path_column, label_column, part_column) if column is not None]
    for line, record in _records(path, wanted):
        name = record.get(wanted[0])
        where, problem = _located(name, folder, root, confined)
        part = str(record.get(part_column) or "").strip() if part_column else ""
        known = part_of(part) or ""
        label, is_name = _label(record.get(wanted[1]))
        if not problem and not is_name:
            problem = "its class is neither text nor a number"
        elif not problem and part and not known:
            problem = f"its part is '{one_line(part)}': expected train, val, test or pile"
        elif not problem and where in rows:
            other = rows[where].label
            problem = "listed twice" + ("" if other == label else f", as '{other}' and as '{label}'")
        if problem:
            skipped.append(Skipped(where or f"{path.name}, line {line}", problem))
        else:
            rows[where] = Row(where, label, known)
    return list(rows.values()), skipped


def _located(name: object, folder: Path, root: Path, confined: bool) -> tuple[str, str]:
    """A path as `ImageIndex` holds it, and what is wrong with it ("" if nothing). Both folders are absolute."""
    if not isinstance(name, str) or not name.strip():
        return "", "the line names no picture"
    if not _is_text(name):
        return "", "the name is not one a file can have"
    full = os.path.normpath(folder / name)
    base = os.path.normpath(root).rstrip(os.sep) + os.sep
    inside = full.startswith(base)
    where = full[len(base) :].replace(os.sep, "/") if inside else full
    if confined and not inside:
        return where, "leads out of the archive"
    try:
        mode = Path(full).stat().st_mode
    except OSError as e:
        return where, f"cannot be read ({e.strerror})"
    return where, "" if stat.S_ISREG(mode) else "not a regular file"


def _is_text(text: str) -> bool:
    """Whether a string can be a name: no zero character, and no half of a surrogate pair."""
    try:
        return b"\0" not in text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False


def _label(value: Any) -> tuple[str | None, bool]:
    """A class name, None for an empty cell, and whether it can be one. Whole numbers lose their fraction: 3.0 is 3."""
    if value is None or value == "" or value != value:
        return None, True
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value), isinstance(value, (str, int, float)) and _is_text(str(value))


def _column(columns: Sequence[str], choices: Sequence[str]) -> str | None:
    """The column with the first of the names chosen from."""
    by_name = {column.strip().lower(): column for column in reversed(columns)}
    return next((by_name[choice] for choice in choices if choice in by_name), None)


def _columns(path: Path) -> list[str]:
    """The names of a table's columns; for JSON Lines, those that its first lines use."""
    with _readable(path):
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet

            return list(pyarrow.parquet.read_schema(path).names)
        if path.suffix.lower() in (".jsonl", ".ndjson"):
            first = itertools.islice(_json_records(path), 20)
            return list(dict.fromkeys(key for _, record in first for key in record))
        with _text(path) as file:
            return next(csv.reader(file, delimiter=_delimiter(path)), [])


def _records(path: Path, columns: Sequence[str]) -> Iterator[_Record]:
    """The lines of a table by number (as an editor counts them in a text) and their values by column."""
    with _readable(path):
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet

            line = 1
            with pyarrow.parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(columns=list(columns)):
                    yield from enumerate(batch.to_pylist(), line)
                    line += batch.num_rows
        elif path.suffix.lower() in (".jsonl", ".ndjson"):
            yield from _json_records(path)
        else:
            with _text(path) as file:
                reader = csv.DictReader(file, delimiter=_delimiter(path))
                for record in reader:
                    yield reader.line_num, record


def _json_records(path: Path) -> Iterator[_Record]:
    """One object a line. A line that is none comes out empty, and so is reported as naming no picture."""
    with _text(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    record = None
                yield number, record if isinstance(record, dict) else {}


def _text(path: Path) -> IO[str]:
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _delimiter(path: Path) -> str:
    """Of comma, semicolon and tab, the one the first line holds most of."""
    with _text(path) as file:
        first = file.readline()
    return max(",;\t", key=first.count)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, csv.Error, ValueError) as e:  # pyarrow's errors are among these
        raise ShoeboxError(
            f"{one_line(path)}: the table cannot be read ({one_line(str(e).partition(chr(10))[0])})"
        ) from e
