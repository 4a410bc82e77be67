"""How results are printed: one JSON object, or text for people."""

import sys
from collections.abc import Callable
from typing import Any

from shoebox.base.progress import printable


def agreement(yes: bool) -> Callable[[str], bool]:
    """What shows a plan on stderr and asks whether to go on: answered by --yes, else by a person at a terminal."""

    def agree(plan: str) -> bool:
        print(printable(plan), file=sys.stderr)
        if yes or not sys.stdin.isatty():
            return yes
        print("go on? [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    return agree


def complain(error: object, code: int) -> int:
    """Print an error on one line."""
    print(f"error: {printable(str(error))}", file=sys.stderr)
    return code


def emit(result: dict[str, Any], as_json: bool, text: str) -> None:
    """Print a result: as one JSON object, or as the text made for people."""
    if as_json:
        import json

        from shoebox.base.tables import plain

        text = json.dumps(plain(result), ensure_ascii=True, default=str)
    print(text if as_json else printable(text), flush=True)


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of equal keys as aligned columns."""
    if not rows:
        return ""
    cells = [list(rows[0]), *([str(v) if v is not None else "" for v in row.values()] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
