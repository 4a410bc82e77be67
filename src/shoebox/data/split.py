"""Which pictures are learnt from, which choose the best epoch, and which measure it: train, val and test.

Stratified: every class is divided by itself. Seeded, and a function of the seed and the pictures' relative paths only:
neither the order in which a file system lists files nor the place where the folder lies matters, and a picture that is
added later moves no other from one part to another unless the numbers call for it.

Small classes: a class of one picture stays whole in train; of two, one becomes val; from three on, val and test get
their share but at least one each, as long as train keeps one. Large sets: val gets no more than serves to choose and
to calibrate by (`ENOUGH`) unless more is asked for; the rest is learnt from.
"""

import csv
import functools
import hashlib
import io
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.files import atomic_write
from shoebox.data.index import PARTS, UNLABELLED, ImageIndex, listed
from shoebox.data.names import one_line

# From this ratio of the largest to the smallest class on, accuracy says little about the small ones.
IMBALANCE = 100

USUAL = 0.1
ENOUGH, ENOUGH_A_CLASS = 2_500, 50
"""Pictures, or pictures of each class if that is more, beyond which val does not grow by itself: an accuracy is then
known to two points at the worst, and every further picture would be missed in training."""

_COLUMNS = ["path", "label", "part"]
# What a spreadsheet would take for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def split(
    index: ImageIndex,
    *,
    validation: float | None = None,
    test: float = 0.1,
    seed: int = 0,
    groups: NDArray[np.int64] | None = None,
) -> ImageIndex:
    """Fill in the parts that are missing.

    With neither val nor test: both are taken out of train. With a test part but no val: val is taken out of train.
    With a val part: nothing changes, so there may be no test part. Pictures without a label are the pile.

    Args:
        index: some rows may have parts already; they keep them.
        validation, test: the share of the pictures, 0 to less than 1; 0 for no such part. By default a tenth, for val
            at most `ENOUGH`.
        seed: another seed, another split.
        groups: (N,) rows with the same number stay on one side (near-duplicates); None if each is on its own. A group
            that fits neither val nor test stays in train, so the parts may come out smaller.

    Returns:
        The same rows, each with a part from `PARTS`, and warnings about classes too small to measure.

    Raises:
        UsageError: a share is out of its range.
    """
    usual = validation is None
    validation = USUAL if validation is None else validation
    for name, share in (("validation", validation), ("test", test)):
        if not 0 <= share < 1:
            raise UsageError(f"{name} is {share}: expected a share from 0 to less than 1")
    if validation + test >= 1:
        raise UsageError(f"validation ({validation}) and test ({test}) leave nothing to train on")
    part = _filled_in(index)
    given = {str(p) for p in np.unique(part)}
    if "val" not in given:
        rows = _shuffled(index, seed)
        if usual:
            enough = max(ENOUGH, ENOUGH_A_CLASS * len(index.classes)) / max(len(rows), 1)
            validation = min(validation, enough)
        shares = {"val": validation, "test": 0.0 if "test" in given else test}
        for name, chosen in _divided(index, rows, shares, groups).items():
            part[chosen] = name
    return index.with_part(part).with_warnings(*_small_classes(index.with_part(part)))


def _filled_in(index: ImageIndex) -> NDArray[np.str_]:
    """(N,) the part of each row, where what is still to be divided is train, and what has no label is the pile."""
    part = index.part.copy()
    part[part == ""] = "train"
    part[index.labels == UNLABELLED] = "pile"
    return part


def _divided(
    index: ImageIndex, rows: list[int], shares: dict[str, float], groups: NDArray[np.int64] | None
) -> dict[str, list[int]]:
    """The rows taken out of train, by their new part: groups in the rows' order, each to the first part with room."""
    labels = index.labels.tolist()
    room = _targets(np.bincount(index.labels[rows], minlength=len(index.classes)), shares)
    members: dict[int, list[int]] = defaultdict(list)
    group_of = range(len(index)) if groups is None else groups.tolist()
    for row in rows:
        members[group_of[row]].append(row)
    taken: dict[str, list[int]] = {name: [] for name in shares}
    places = sum(map(sum, room.values()))
    for group in members.values():
        if not places:
            break
        need: dict[int, int] = defaultdict(int)
        for row in group:
            need[labels[row]] += 1
        for name, left in room.items():
            if all(left[label] >= count for label, count in need.items()):
                taken[name] += group
                places -= len(group)
                for label, count in need.items():
                    left[label] -= count
                break
    return taken


def _targets(counts: NDArray[np.int64], shares: dict[str, float]) -> dict[str, list[int]]:
    """How many pictures of each class a part gets. val comes before test where there are too few for both."""
    left = np.maximum(counts - 1, 0)  # train keeps one
    targets = {}
    for name, share in shares.items():
        wanted = np.maximum(np.floor(counts * share + 0.5).astype(np.int64), 1) if share > 0 else np.zeros_like(counts)
        targets[name] = np.minimum(wanted, left)
        left = left - targets[name]
    return {name: target.tolist() for name, target in targets.items()}


@functools.lru_cache(maxsize=1)
def _shuffled(index: ImageIndex, seed: int) -> list[int]:
    """The rows to divide, in an order that depends on the seed and on each one's own path. The last order is kept:
    training divides the same index before it is packed and, by groups, after that."""
    rows = np.flatnonzero(_filled_in(index) == "train").tolist()
    paths = _portable(index, rows)
    key = f"{seed}\0".encode()
    ranks = [hashlib.blake2b(key + os.fsencode(path), digest_size=8).digest() for path in paths]
    return [row for _, _, row in sorted(zip(ranks, map(index.paths.__getitem__, rows), rows, strict=True))]


def _portable(index: ImageIndex, rows: list[int]) -> list[str]:
    """Paths without what depends on where the pictures lie: absolute ones lose the folders they have in common."""
    paths = [index.paths[row] for row in rows]
    absolute = {path for path in paths if os.path.isabs(path)}  # noqa: PTH117 (a Path costs more)
    common = len(os.path.commonpath(absolute)) if len(absolute) > 1 else 0
    return [path[common:] if path in absolute else path for path in paths]


def _small_classes(index: ImageIndex) -> list[str]:
    counts = np.bincount(index.labels[index.part == "train"], minlength=len(index.classes))
    totals = np.bincount(index.labels[index.labels != UNLABELLED], minlength=len(index.classes))
    warnings = []
    single = [index.classes[i] for i in np.flatnonzero(totals == 1)]
    if single:
        warnings.append(f"only one picture of {listed(single)}: learnt from, but never measured")
    present = counts[counts > 0]
    if len(present) and present.max() >= IMBALANCE * present.min():
        small = index.classes[int(np.flatnonzero(counts == present.min())[0])]
        warnings.append(
            f"unbalanced: there are {present.max():,} pictures of {listed([index.classes[int(counts.argmax())]])} to "
            f"learn from and {present.min():,} of {listed([small])}: look at each class by itself"
        )
    return warnings


def write_split(index: ImageIndex, path: Path) -> None:
    """Write which part each picture went to: CSV with path, label (its name, empty for none) and part; atomically.

    A path that a spreadsheet would take for a formula gets `./` in front, a class name an apostrophe.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in _rows(index):
        writer.writerow(row)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode("utf-8", "surrogateescape"))


def read_split(index: ImageIndex, path: Path) -> ImageIndex:
    """Give every row the part it had when the split was written.

    Raises:
        ShoeboxError: the file cannot be read, or the pictures or their labels are no longer those that were split; the
            message says how many differ, and names one.
    """
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            lines = list(csv.reader(file))
    except (OSError, csv.Error) as e:
        raise ShoeboxError(f"{one_line(path)}: the split cannot be read ({e})") from e
    if (
        not lines
        or lines[0] != _COLUMNS
        or any(len(line) != len(_COLUMNS) or line[-1] not in PARTS for line in lines[1:])
    ):
        raise ShoeboxError(f"{one_line(path)}: not a split: expected the columns {', '.join(_COLUMNS)}, and parts")
    written = {name: (label, part) for name, label, part in lines[1:]}
    now = {name: label for name, label, _ in _rows(index)}
    gone, new = sorted(written.keys() - now.keys()), sorted(now.keys() - written.keys())
    moved = sorted(name for name in written.keys() & now.keys() if written[name][0] != now[name])
    for names, what in ((gone, "are gone"), (new, "are new"), (moved, "have another label")):
        if names:
            raise ShoeboxError(
                f"{one_line(index.root)} has changed since {one_line(path)} was written: {len(names):,} pictures "
                f"{what}, the first is {one_line(names[0])}"
            )
    return index.with_part(np.array([written[name][1] for name in now], dtype=index.part.dtype))


def _rows(index: ImageIndex) -> list[tuple[str, str, str]]:
    names = [*(f"'{name}" if name.startswith((*_FORMULA, "'")) else name for name in index.classes), ""]
    return [
        (f"./{path}" if path.startswith(_FORMULA) else path, names[label], part)
        for path, label, part in zip(index.paths, index.labels.tolist(), index.part.tolist(), strict=True)
    ]
