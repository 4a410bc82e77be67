"""From rows of (path, class name, part) to an ImageIndex: one place for the rules on classes, whatever the source.

- Classes are sorted by code point, so that their order depends on nothing but their names.
- A class that occurs in val or test and has no picture to learn from is refused, by name.
- A class without any picture keeps its position and is reported; so are names that differ only in case or composition.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shoebox.base.errors import ShoeboxError
from shoebox.data.index import PARTS, UNLABELLED, ImageIndex, Skipped, listed
from shoebox.data.names import lookalike, one_line


class Row(NamedTuple):
    """One picture: its path as in `ImageIndex.paths`, the name of its class or None, and its part or ""."""

    path: str
    label: str | None
    part: str


def assemble(
    root: Path, rows: Sequence[Row], *, declared: Iterable[str] = (), skipped: Sequence[Skipped] = (), ignored: int = 0
) -> ImageIndex:
    """Number the classes and check them.

    Args:
        root: what the rows' relative paths are relative to.
        rows: the pictures, in any order. Those without a class become part of the pile.
        declared: classes known to exist, though perhaps without a picture.
        skipped, ignored: as in `ImageIndex`.

    Raises:
        ShoeboxError: there is no picture, or a class occurs in val or test only.
    """
    if not rows:
        first = f"; {len(skipped):,} were skipped, the first is {skipped[0]}" if skipped else ""
        raise ShoeboxError(f"{one_line(root)}: no pictures found{first}")
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.label is not None:
            found[row.part].add(row.label)
    learnt = found["train"] | found[""]
    if learnt or any(row.part == "train" for row in rows):
        for part in ("val", "test"):
            _refuse_unlearnt(root, sorted(found[part] - learnt), part, learnt)
    present = set().union(*found.values())
    classes = sorted(present.union(declared))
    position = {name: i for i, name in enumerate(classes)}
    rows = sorted(rows)
    return ImageIndex(
        root=root,
        paths=tuple(row.path for row in rows),
        labels=np.array([UNLABELLED if r.label is None else position[r.label] for r in rows], dtype=np.int64),
        classes=tuple(classes),
        part=np.array([r.part if r.label is not None else "pile" for r in rows], dtype=f"<U{max(map(len, PARTS))}"),
        skipped=tuple(skipped),
        ignored=ignored,
        warnings=(*_empty(classes, present), *_lookalikes(classes)),
    )


def _refuse_unlearnt(root: Path, strange: Sequence[str], part: str, learnt: set[str]) -> None:
    if not strange:
        return
    twins = {lookalike(name): name for name in learnt}
    twin = twins.get(lookalike(strange[0]))
    hint = f" (train has {listed([twin])}, which is written differently)" if twin else ""
    raise ShoeboxError(
        f"{one_line(root)}: {part} has pictures of {listed(strange)}, of which train has none{hint}: "
        "add some to train, or take the class out"
    )


def _empty(classes: Sequence[str], present: set[str]) -> list[str]:
    empty = [name for name in classes if name not in present]
    return [f"no picture of {listed(empty)}: kept as a class, but nothing can be learnt of it"] if empty else []


def _lookalikes(classes: Sequence[str]) -> list[str]:
    alike: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        alike[lookalike(name)].append(name)
    return [
        f"the classes {listed(names)} differ only in capitals or accents' encoding: are they one class?"
        for names in alike.values()
        if len(names) > 1
    ]
