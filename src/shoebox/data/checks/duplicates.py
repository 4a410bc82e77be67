"""Checks for pictures that are there more than once: the same pixels or nearly the same picture, also under two labels
and in two parts."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from shoebox.data.check import CHECKS, Action, Evidence, Finding, Row
from shoebox.data.twins import united

_MEASURING = ("val", "test")


def same_pixels(evidence: Evidence) -> NDArray[np.int64]:
    """(P, 2) rows with exactly the same pixels: each with the first like it."""
    first: dict[bytes, int] = {}
    pairs = []
    for row in evidence.readable.tolist():
        like = first.setdefault(evidence.records["pixels"][row].tobytes(), row)
        if like != row:
            pairs.append((like, row))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _clusters(evidence: Evidence, pairs: NDArray[np.int64]) -> list[list[int]]:
    """The rows of each cluster of two and more, largest first."""
    members: dict[int, list[int]] = defaultdict(list)
    roots = united(len(evidence.index), pairs)
    for row in np.unique(pairs).tolist():
        members[int(roots[row])].append(row)
    return sorted(members.values(), key=lambda rows: (-len(rows), rows[0]))


def _all_pairs(evidence: Evidence) -> NDArray[np.int64]:
    return np.concatenate([same_pixels(evidence), evidence.twins.pairs])


def _best_first(evidence: Evidence, rows: list[int]) -> list[int]:
    """The one to keep first: of a measuring part, then the largest, then the first by name."""
    records, part = evidence.records, evidence.index.part
    area = records["width"].astype(np.int64) * records["height"]
    return sorted(rows, key=lambda i: (part[i] not in _MEASURING, -int(area[i]), evidence.index.paths[i]))


def _copies(evidence: Evidence, clusters: list[list[int]], how: str) -> tuple[Row, ...]:
    table = []
    for number, rows in enumerate(clusters):
        for place, i in enumerate(_best_first(evidence, rows)):
            action: Action = "drop" if place else ""
            size = f"{evidence.records['width'][i]} × {evidence.records['height'][i]} px"
            table.append(evidence.row(i, f"{how if place else 'kept'}, {size}", group=number, action=action))
    return tuple(table)


@CHECKS.register
def exact_copies(evidence: Evidence) -> Finding:
    """Files with exactly the same pixels, whatever their names and formats."""
    clusters = _clusters(evidence, same_pixels(evidence))
    extra = sum(len(rows) - 1 for rows in clusters)
    return Finding(
        "warning",
        extra,
        f"pictures that are there again, pixel by pixel, of {len(clusters):,} originals",
        "keep one of each: copies weigh a picture double and leak between parts",
        _copies(evidence, clusters, "the same pixels"),
    )


@CHECKS.register
def near_copies(evidence: Evidence) -> Finding:
    """Pictures that are another one saved again, resized, mirrored, cropped a little or made brighter."""
    exact = {tuple(sorted(rows)) for rows in _clusters(evidence, same_pixels(evidence))}
    clusters = [rows for rows in _clusters(evidence, _all_pairs(evidence)) if tuple(sorted(rows)) not in exact]
    extra = sum(len(rows) - 1 for rows in clusters)
    return Finding(
        "warning",
        extra,
        f"pictures that are nearly the same as another, in {len(clusters):,} groups",
        "training keeps each group on one side of the split; keep one of each where they add nothing",
        _copies(evidence, clusters, "nearly the same"),
    )


@CHECKS.register
def two_labels(evidence: Evidence) -> Finding:
    """The same or nearly the same picture under different labels."""
    labels, table, groups = evidence.index.labels, [], 0
    for rows in _clusters(evidence, _all_pairs(evidence)):
        if len({int(labels[i]) for i in rows} - {-1}) > 1:
            others = {evidence.label(i) for i in rows} - {""}
            for i in _best_first(evidence, rows):
                also = ", ".join(sorted(others - {evidence.label(i)}))
                table.append(evidence.row(i, f"also under {also}", group=groups, action="quarantine"))
            groups += 1
    return Finding(
        "error",
        len(table),
        f"pictures that are there under two labels, in {groups:,} groups: at least one is wrong",
        "look at each group and keep the right label; until then set them aside",
        tuple(table),
    )


@CHECKS.register
def leaks(evidence: Evidence) -> Finding:
    """The same or nearly the same picture in two parts that the data set came with."""
    part, table, leaked = evidence.index.part, [], 0
    groups = 0
    for rows in _clusters(evidence, _all_pairs(evidence)):
        parts = {str(part[i]) for i in rows} - {"", "pile"}
        if len(parts) < 2:
            continue
        leaked += sum(part[i] in _MEASURING for i in rows)
        for i in _best_first(evidence, rows):
            action: Action = "drop" if part[i] not in _MEASURING else ""
            also = ", ".join(sorted(parts - {str(part[i])})) or str(part[i])
            table.append(evidence.row(i, f"in {part[i]}, its like in {also}", group=groups, action=action))
        groups += 1
    measuring = int(np.isin(part, _MEASURING).sum())
    return Finding(
        "error",
        leaked,
        f"pictures of val or test whose like is in another part ({leaked / max(measuring, 1):.1%} of them): scores "
        "are too good",
        "drop the copies in train, so that val and test measure what is new",
        tuple(table),
    )
