"""Pictures that must stay on one side of a split: near-duplicates, and neighbours in a burst or a video.

In: packed pictures. Out: `Kin`, found once and kept beside the pack. A picture on one side of a split and its copy on
the other make a score too good: what was learnt by heart is asked again.
"""

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoebox.base.files import atomic_write, when_damaged
from shoebox.base.progress import QUIET, Progress
from shoebox.data.cache import KIN
from shoebox.data.checks.sequences import sequence_pairs
from shoebox.data.index import ImageIndex
from shoebox.data.likeness import SIDE, details, grey_thumbs
from shoebox.data.pack import Pack, Stream
from shoebox.data.twins import find_twins, united

LAYOUT = 4  # to be raised when the same pictures would give other pairs
MOST = 400_000
"""Pictures beyond which none are compared: it would take many minutes, and some gigabytes."""
_CHUNK = 2048


@dataclass(frozen=True, eq=False)
class Kin:
    """Which pictures belong together.

    Attributes:
        twins: (P, 2) int64 rows that show nearly the same, the lower first.
        neighbours: (Q, 2) rows that follow each other and are alike.
        count: N, how many pictures there are.
    """

    twins: NDArray[np.int64]
    neighbours: NDArray[np.int64]
    count: int

    def groups(self) -> NDArray[np.int64]:
        """(N,) the same number for pictures that belong together; a picture's own row where it stands alone."""
        return united(self.count, np.concatenate([self.twins, self.neighbours]))


def find_kin(packed: Pack | Stream, *, progress: Progress = QUIET) -> Kin:
    """Find them among packed pictures, or read what was found before.

    Args:
        packed: at most `MOST` pictures; of more, none are kin.

    Raises:
        ShoeboxError: as `packed.gather`.
    """
    index = packed.index
    if not 1 < len(index) <= MOST:
        none = np.empty((0, 2), np.int64)
        return Kin(none, none, len(index))
    path = packed.folder / KIN if isinstance(packed, Pack) else None
    key = _key(index)
    found = _read(path, key) if path else None
    if found is None:
        starts = range(0, len(index), _CHUNK)
        chunks = progress.track(starts, len(starts), "looking for copies")
        thumbs = np.concatenate(
            [grey_thumbs(packed.gather(np.arange(i, min(i + _CHUNK, len(index))))) for i in chunks]
            or [np.empty((0, SIDE, SIDE), np.uint8)]
        )
        fine = details(thumbs)
        twins = find_twins(thumbs, index.labels, fine).pairs
        found = Kin(
            twins, sequence_pairs(index.paths, index.known_stamps()[:, 1], thumbs, index.labels, fine), len(index)
        )
        if path:
            _write(path, key, found)
    return found


def _key(index: ImageIndex) -> str:
    """Of what decides the pairs, the pixels left out, which are the pack's own."""
    digest = hashlib.blake2b(repr((LAYOUT, len(index))).encode(), digest_size=16)
    digest.update("\0".join(index.paths).encode("utf-8", "surrogateescape"))
    digest.update(index.labels.tobytes())
    return digest.hexdigest()


def _read(path: Path, key: str) -> Kin | None:
    try:
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["key"]) == key:
                return Kin(kept["twins"], kept["neighbours"], int(kept["count"]))
    except when_damaged():
        pass  # absent, or damaged: it is found again
    return None


def _write(path: Path, key: str, found: Kin) -> None:
    with contextlib.suppress(OSError), atomic_write(path) as file:  # a cache that may only be read serves as well
        np.savez(file, key=np.array(key), twins=found.twins, neighbours=found.neighbours, count=np.array(found.count))
