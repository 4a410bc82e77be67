"""A table that an interrupted program continues: rows kept as they come, the file itself only when all are there.

In: rows as dicts with a "path". Out: a CSV, JSON Lines or Parquet file, whole or not there at all, and until then a
hidden partial file beside it, from which a second call with the same mark goes on.
"""

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shoebox.base.errors import ShoeboxError
from shoebox.base.tables import Row, writer


@dataclass(frozen=True)
class Continued:
    """A table being written.

    Attributes:
        done: the paths that have their row already, each with its status.
        write: adds a row.
    """

    done: dict[str, str]
    write: Callable[[Row], object]


@contextlib.contextmanager
def resumable(path: Path, columns: Sequence[str], numbers: Collection[str], mark: str) -> Iterator[Continued]:
    """Write a table so that a killed writer loses at most the row it was writing. A `ShoeboxError` leaves nothing.

    Args:
        path, columns, numbers: as for `shoebox.base.tables.writer`.
        mark: what the rows depend on besides the files (the classifier, the options): a partial file with another mark
            is not continued. Letters and digits.
    """
    partial = path.with_name(f".{path.name[:150]}.{mark}.part")
    done: dict[str, str] = {}
    with partial.open("a+b") as file:
        file.seek(0)
        whole = 0
        for line in file:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            row = json.loads(line)
            done[row["path"]] = row["status"]
        file.truncate(whole)  # a line that a killed writer left half written

        def write(row: Row) -> None:
            file.write(json.dumps(row).encode() + b"\n")
            file.flush()

        try:
            yield Continued(done, write)
        except ShoeboxError:
            partial.unlink()  # the same call would fail again: there is nothing to go on with
            raise
        file.seek(0)
        with writer(path, columns, numbers) as add:
            for line in file:
                add(json.loads(line))
    partial.unlink()
