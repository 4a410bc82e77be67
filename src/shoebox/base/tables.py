"""Rows into CSV, JSON Lines or Parquet files, harmless to open.

In: rows as dicts, one by one. Out: one file that appears whole or not at all. Names of files and classes come from
anywhere: none of them is run by a spreadsheet, and one that is no UTF-8 is written with its odd bytes as escapes.
"""

import contextlib
import csv
import json
import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shoebox.base.files import atomic_write

SUFFIXES = (".csv", ".jsonl", ".parquet")

Row = Mapping[Any, Any]


@contextlib.contextmanager
def writer(path: Path, columns: Sequence[str], numbers: Collection[str] = ()) -> Iterator[Callable[[Row], object]]:
    """Give a function that adds a row to `path`, which appears when the block ends without an error.

    Args:
        path: ends in one of `SUFFIXES`; anything else is written as JSON Lines.
        columns: the names, in order. What a row lacks is left empty (CSV, Parquet) or out (JSON Lines).
        numbers: the columns that Parquet keeps as float64; the others are text there.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        with atomic_write(path) as file:
            yield from _parquet(file, columns, numbers)
        return
    with atomic_write(path, "w") as file:
        if suffix == ".csv":
            table = csv.DictWriter(file, columns, restval="")
            # The names of columns can be those of classes.
            table.writerow({name: harmless(name) for name in columns})
            yield lambda row: table.writerow({key: harmless(value) for key, value in row.items()})
        else:
            yield lambda row: file.write(json.dumps({key: plain(value) for key, value in row.items()}) + "\n")


def write_rows(path: Path, rows: Sequence[Row], columns: Sequence[str], numbers: Collection[str] = ()) -> None:
    """Write all rows at once; arguments as `writer`."""
    with writer(path, columns, numbers) as write:
        for row in rows:
            write(row)


def _parquet(
    file: Any, columns: Sequence[str], numbers: Collection[str], group: int = 10_000
) -> Iterator[Callable[[Row], object]]:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = [(name, pa.float64() if name in numbers else pa.string()) for name in columns]
    rows: list[Row] = []
    with parquet.ParquetWriter(file, pa.schema(kinds)) as table:

        def flush() -> None:
            data = [{key: plain(value) for key, value in row.items()} for row in rows]
            table.write_table(pa.Table.from_pylist(data, pa.schema(kinds)))
            rows.clear()

        def add(row: Row) -> None:
            rows.append(row)
            if len(rows) >= group:
                flush()

        yield add
        flush()


def harmless(value: Any) -> Any:
    """A CSV cell that a spreadsheet will not run: text that begins like a formula gets a leading apostrophe, and what
    is not a finite number is left empty."""
    value = plain(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def plain(value: Any) -> Any:
    """`value` as JSON can write it: nan and infinities as None, text speakable; within dicts, lists and tuples too."""
    if isinstance(value, dict):
        return {speakable(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return speakable(value) if isinstance(value, str) else value


def speakable(text: str) -> str:
    """Text that can be written as UTF-8: bytes of a file name that are none become escapes (\\udcff as \\xff)."""
    try:
        return os.fsencode(text).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a surrogate that no file name gives, as in "\ud800"
        return text.encode("utf-8", "backslashreplace").decode()
