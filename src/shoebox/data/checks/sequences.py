"""Check for sequences: pictures taken one after another, as of a burst or a video, by name and time and likeness."""

import itertools
import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shoebox.data.check import CHECKS, Evidence, Finding
from shoebox.data.likeness import Floats, details, grey_thumbs, likeness, promising
from shoebox.data.twins import chance, united

STEP = 3  # the most that the numbers of two neighbouring frames may differ by
SECONDS = 3  # the most that the times of change of two neighbouring frames may differ by
ALIKE = 0.7  # the least likeness of two neighbours
LONG = 3  # pictures that make a sequence
_NUMBER = re.compile(r"(.*?)(\d+)(\D*)$", re.DOTALL)


def sequence_pairs(
    paths: Sequence[str],
    changed: NDArray[np.int64],
    thumbs: NDArray[np.uint8],
    labels: NDArray[np.int64],
    fine: Floats | None = None,
) -> NDArray[np.int64]:
    """(P, 2) rows that follow each other in a sequence.

    Neighbours by number (frame_0041.jpg, frame_0042.jpg in one folder) or by time, that are also alike: numbers alone
    say nothing, since most data sets number their pictures.

    Args:
        paths: N, as in an index.
        changed: (N,) ns since 1970.
        thumbs: (N, 32, 32) grey.
        labels: (N,) classes.
        fine: (N, 256) the thumbnails' `details`, where they are known.
    """
    if len(paths) < LONG:
        return np.empty((0, 2), np.int64)
    pairs = _neighbours(paths, changed)
    if not len(pairs):
        return pairs
    pairs = pairs[promising(details(thumbs) if fine is None else fine, pairs, np.zeros(len(pairs), bool))]
    enough = max(ALIKE, chance(thumbs, labels))
    alike = likeness(thumbs[pairs[:, 0]], thumbs[pairs[:, 1]], ALIKE) >= enough
    return pairs[alike]


def _neighbours(paths: Sequence[str], changed: NDArray[np.int64]) -> NDArray[np.int64]:
    by_folder: dict[str, list[int]] = defaultdict(list)
    by_stem: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for row, path in enumerate(paths):
        folder, _, name = path.rpartition("/")
        by_folder[folder].append(row)
        match = _NUMBER.match(name)
        if match and len(match[2]) < 16:
            by_stem[folder + "/" + match[1], match[3]].append((int(match[2]), row))
    pairs = set()
    for frames in by_stem.values():
        frames.sort()
        pairs |= {(a, b) for (m, a), (n, b) in itertools.pairwise(frames) if 0 < n - m <= STEP}
    for rows in by_folder.values():
        # Files that were written all at once, by a copy or an unpacking, say nothing by their times.
        times = changed[rows]
        if np.ptp(times) > 60e9 * len(rows) ** 0.5:
            order = np.array(rows)[np.argsort(times, kind="stable")]
            close = np.flatnonzero(np.diff(np.sort(times)) <= SECONDS * 10**9)
            pairs |= {(int(order[i]), int(order[i + 1])) for i in close}
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


@CHECKS.register
def sequences(evidence: Evidence) -> Finding:
    """Runs of three or more pictures that follow each other and are alike."""
    rows = evidence.readable
    paths = [evidence.index.paths[i] for i in rows.tolist()]
    pairs = sequence_pairs(
        paths,
        evidence.records["changed"][rows],
        grey_thumbs(evidence.records["thumb"][rows]),
        evidence.index.labels[rows],
    )
    roots = united(len(rows), pairs)
    names, sizes = np.unique(roots, return_counts=True)
    table, number = [], 0
    for root, size in sorted(zip(names.tolist(), sizes.tolist(), strict=True), key=lambda pair: -pair[1]):
        if size < LONG:
            break
        for i in np.flatnonzero(roots == root).tolist():
            table.append(evidence.row(int(rows[i]), f"one of {size} that follow each other", group=number))
        number += 1
    return Finding(
        "note",
        len(table),
        f"pictures that follow each other in {number:,} bursts or videos, by name or time and likeness",
        "training keeps each sequence on one side of the split; count sequences, not pictures, when judging the set",
        tuple(table),
    )
