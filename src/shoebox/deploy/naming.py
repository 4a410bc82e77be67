"""Names for sorted pictures: none overwritten, none too long, none that two systems would confuse.

In: names of classes and files. Out: folders and free names in them.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from shoebox.data.names import lookalike

LONGEST = 255
"""Bytes of a name, on all common file systems."""
_DIGEST = 10

UNSURE, UNKNOWN = "_unsure", "_unknown"


def class_folders(classes: Sequence[str]) -> list[str]:
    """The folder of each class: its name, with what no folder's name may hold replaced, and each of its own.

    Separators, control characters, and dots at either end become `_`; equal names, also those that differ only in case,
    get a number.
    """
    names = FreeNames((UNSURE, UNKNOWN))
    return [names.take(_plain(name)) for name in classes]


class FreeNames:
    """The names of one folder that are taken; case and Unicode composition do not tell two names apart."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {lookalike(name) for name in taken}
        self._next: dict[str, int] = {}

    @classmethod
    def of(cls, folder: Path) -> "FreeNames":
        """Those of a folder as it is; of one that is not there, none."""
        return cls(path.name for path in folder.iterdir()) if folder.is_dir() else cls()

    def take(self, name: str) -> str:
        """`name` if it is free, else with a number ("photo (2).jpg"); shortened, with a hash of the whole, if it is
        too long. It is taken from then on."""
        given = shortened(name)
        key = lookalike(given)
        suffix = Path(given).suffix
        stem = given[: len(given) - len(suffix)]
        free, number = given, self._next.get(key, 2)
        while lookalike(free) in self._taken:
            ending = f" ({number}){suffix}"
            free = _cut(stem, LONGEST - len(os.fsencode(ending))) + ending
            number += 1
        self._next[key] = number
        self._taken.add(lookalike(free))
        return free


def shortened(name: str) -> str:
    """A name of at most `LONGEST` bytes: a longer one keeps its beginning and ending around a hash of all of it."""
    raw = os.fsencode(name)
    if len(raw) <= LONGEST:
        return name
    suffix = Path(name).suffix
    if len(os.fsencode(suffix)) > 20:
        suffix = ""
    ending = f"-{hashlib.blake2b(raw).hexdigest()[:_DIGEST]}{suffix}"
    return _cut(name, LONGEST - len(os.fsencode(ending))) + ending


def _cut(text: str, size: int) -> str:
    """As many characters of `text` as fit into `size` bytes."""
    while len(os.fsencode(text)) > size:
        text = text[: min(len(text) - 1, size)]
    return text


def _plain(name: str) -> str:
    kept = (c.isprintable() or "\udc80" <= c <= "\udcff" for c in name)  # bytes that are no UTF-8 stay as they are
    cleaned = "".join(c if keep and c not in '/\\:*?"<>|' else "_" for c, keep in zip(name, kept, strict=True))
    inner = cleaned.strip(". ")
    return inner if inner == cleaned and inner else f"_{inner}_"
