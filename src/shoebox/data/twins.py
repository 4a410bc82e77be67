"""Pictures that are there more than once: the same pixels, or nearly the same picture.

In: grey thumbnails. Out: pairs with their likeness, and clusters of them (union-find).

Candidates come from random-hyperplane hashing (Charikar 2002) of the descriptors of the pictures and of their mirror
images: pictures that share a bucket in one of `TABLES` tables. A bucket holds a few pictures whatever their number, so
the work grows as N log N. Every candidate is then verified by `likeness`, against a threshold that pictures as alike by
chance as these would not reach: drawings of digits need a higher one than photographs.
"""

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shoebox.data.likeness import (
    DIMENSIONS,
    Floats,
    contrast,
    descriptors,
    details,
    likeness,
    middle_likeness,
    promising,
)
from shoebox.data.stream import processors

TABLES = 20
AT_ONCE = 4
"""Tables looked through at a time, at most: each holds all its meetings in memory."""
NEAR = 0.93
"""The least likeness of near-duplicates. On 3,000 pictures each of CIFAR-10 and Imagenette a copy saved at quality 30,
resized, mirrored or made brighter stays above 0.96, and a crop by 5 % above this."""
MIDDLE = 0.5
"""The least likeness of the middles of two pictures under different labels, which are rarely one picture: unrelated
ones in frames of the same kind reach 0.25 (four pairs of CIFAR-10); of copies cropped by 5 %, 19 in 20 exceed it."""
BLANK = 1.0
"""Contrast, in grey levels, below which a picture has nothing to be recognised by."""

_ALIKE = 0.75  # least cosine of two candidates' descriptors
_BLOCK = 1 << 14  # pairs whose thumbnails are fetched at a time
_CROWD = 500  # pictures in one bucket: they are alike in what is hashed, and told apart in the other tables
_SIGMAS = 6.5  # so many standard deviations from chance that 10^10 pairs hold less than one


@dataclass(frozen=True, eq=False)
class Twins:
    """Pairs of pictures that are nearly the same.

    Attributes:
        count: N, how many pictures were looked at.
        pairs: (P, 2) int64 rows, the lower first.
        scores: (P,) float32 likeness; 1 where the thumbnails are equal.
        flipped: (P,) bool, whether one is the mirror image of the other.
        threshold: the least score that counted.
    """

    count: int
    pairs: NDArray[np.int64]
    scores: NDArray[np.float32]
    flipped: NDArray[np.bool_]
    threshold: float

    def clusters(self) -> NDArray[np.int64]:
        """(N,) the lowest row of each picture's cluster; its own where it has no twin."""
        return united(self.count, self.pairs)


def find_twins(thumbs: NDArray[np.uint8], labels: NDArray[np.int64] | None = None, fine: Floats | None = None) -> Twins:
    """Find near-duplicates.

    Args:
        thumbs: (N, 32, 32) grey.
        labels: (N,) classes; chance is then measured among pictures of one class, which are the most alike, and what
            is under two labels must also be alike in its middle.
        fine: their `details`, where they are known.
    """
    count = len(thumbs)
    clear = np.flatnonzero(contrast(thumbs) >= BLANK)
    same = _equal(thumbs)
    threshold = NEAR
    pairs, scores, flipped = same, np.ones(len(same), np.float32), np.zeros(len(same), bool)
    if len(clear) > 1:
        threshold = max(NEAR, chance(thumbs[clear], None if labels is None else labels[clear]))
        found, mirrored = candidates(*descriptors(thumbs[clear]))
        found = clear[found]
        likely = promising(details(thumbs) if fine is None else fine, found, mirrored)
        found, mirrored = found[likely], mirrored[likely]
        # A pair of equal thumbnails is known already.
        known = np.isin(_code(found, count), _code(same, count))
        found, mirrored = found[~known], mirrored[~known]
        blocks = [slice(i, i + _BLOCK) for i in range(0, len(found), _BLOCK)]
        scored = [likeness(*_two(thumbs, found[block], mirrored[block]), NEAR) for block in blocks]
        score = np.concatenate([np.empty(0, np.float32), *scored])
        good = score >= threshold
        if labels is not None:
            doubtful = np.flatnonzero(good & (labels[found[:, 0]] != labels[found[:, 1]]))
            good[doubtful] = middle_likeness(*_two(thumbs, found[doubtful], mirrored[doubtful])) >= MIDDLE
        pairs = np.concatenate([same, found[good]])
        scores = np.concatenate([scores, score[good]])
        flipped = np.concatenate([flipped, mirrored[good]])
    order = np.lexsort((flipped, -scores, _code(pairs, count)))
    pairs, scores, flipped = pairs[order], scores[order], flipped[order]
    first = np.ones(len(pairs), bool)
    first[1:] = _code(pairs, count)[1:] != _code(pairs, count)[:-1]
    return Twins(count, pairs[first], scores[first], flipped[first], threshold)


def candidates(
    plain: NDArray[np.float32], mirrored: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Pairs that may be alike, (P, 2) with the lower row first, and (P,) whether as mirror images.

    Args:
        plain, mirrored: (N, D) unit vectors.
    """
    count = len(plain)
    bits = int(np.clip(np.log2(max(count, 2)) - 1, 4, 24))
    generator = np.random.default_rng(0)
    turns = [generator.normal(size=(DIMENSIONS, DIMENSIONS)) for _ in range(TABLES)]

    def met(turn: NDArray[np.float64]) -> list[NDArray[np.int64]]:
        """The codes of the pairs of one table."""
        planes = np.linalg.qr(turn)[0][:, :bits].astype(np.float32)
        own, mirror = _keys(plain @ planes), _keys(mirrored @ planes)
        order = np.argsort(own, kind="stable")
        ends = np.cumsum(np.bincount(own, minlength=1 << bits))
        codes = []
        for keys, offset in ((own, 0), (mirror, count)):
            first, second = _meetings(keys, ends, order)
            wanted = first < second
            first, second = first[wanted], second[wanted] + offset
            near = _cosines(plain, mirrored, first, second) >= _ALIKE
            codes.append(first[near] * (2 * count) + second[near])
        return codes

    with ThreadPoolExecutor(min(processors(), AT_ONCE)) as threads:
        codes = [np.empty(0, np.int64), *itertools.chain.from_iterable(threads.map(met, turns))]
    every = np.sort(np.concatenate(codes))  # a third of the time of np.unique, which hashes
    first, second = np.divmod(every[np.diff(every, prepend=-1) > 0], 2 * count)
    return np.stack([first, second % max(count, 1)], 1), second >= count


def united(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Union-find: (count,) the lowest number of the set that each number is in, given which belong together."""
    parent = list(range(count))

    def root(x: int) -> int:
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    for a, b in pairs.tolist():
        a, b = root(a), root(b)
        parent[max(a, b)] = min(a, b)
    return np.array([root(x) for x in range(count)], dtype=np.int64)


def chance(thumbs: NDArray[np.uint8], labels: NDArray[np.int64] | None, pairs: int = 4000) -> float:
    """The likeness that unrelated pictures of this kind do not reach: Fisher's z of random pairs, of one class if
    `labels` are given, and `_SIGMAS` standard deviations of it."""
    generator = np.random.default_rng(0)
    first = generator.integers(0, len(thumbs), pairs)
    second = (first + generator.integers(1, len(thumbs), pairs)) % len(thumbs)
    if labels is not None:
        order = np.lexsort((generator.random(len(labels)), labels))
        alike = labels[order[1:]] == labels[order[:-1]]
        chosen = generator.permutation(np.flatnonzero(alike))[:pairs]
        if len(chosen) >= 100:
            first, second = order[chosen], order[chosen + 1]
    z = np.arctanh(np.clip(likeness(thumbs[first], thumbs[second]), -0.999, 0.999))
    low, middle, high = np.quantile(z, (0.1587, 0.5, 0.8413))  # robust: a few real twins do not count
    return float(min(np.tanh(middle + _SIGMAS * max(high - middle, middle - low)), 0.999))


def _equal(thumbs: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pairs of rows whose thumbnails are the same byte for byte: each row with the first like it."""
    seen: dict[bytes, int] = {}
    pairs = []
    for row, thumb in enumerate(thumbs):
        first = seen.setdefault(thumb.tobytes(), row)
        if first != row:
            pairs.append((first, row))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _keys(projected: NDArray[np.float32]) -> NDArray[np.int64]:
    return (projected > 0) @ (1 << np.arange(projected.shape[1], dtype=np.int64))


def _meetings(
    keys: NDArray[np.int64], ends: NDArray[np.int64], order: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every (row with that key, row in the bucket of that key); crowded buckets are passed over.

    Args:
        ends: of each bucket in `order`, the rows by their own keys.
    """
    sizes = np.diff(ends, prepend=0)
    size = np.where(sizes > _CROWD, 0, sizes)[keys]
    asking = np.repeat(np.arange(len(keys)), size)
    within = np.arange(len(asking)) - np.repeat(np.cumsum(size) - size, size)
    return order[np.repeat((ends - sizes)[keys], size) + within], asking


def _cosines(
    plain: NDArray[np.float32],
    mirrored: NDArray[np.float32],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    chunk: int = 1 << 13,
) -> NDArray[np.float32]:
    """Of pairs; a second number from N on means the mirror image of number minus N."""
    count = len(plain)
    cosines = [np.empty(0, np.float32)]
    for i in range(0, len(first), chunk):
        a, b = first[i : i + chunk], second[i : i + chunk]
        other, b = (plain, b) if not len(b) or b[0] < count else (mirrored, b - count)
        # Taken so, not by [], in a quarter of the time, and by several threads at once.
        cosines.append(np.einsum("nd,nd->n", plain.take(a, 0, mode="clip"), other.take(b, 0, mode="clip")))
    return np.concatenate(cosines)


def _two(
    thumbs: NDArray[np.uint8], pairs: NDArray[np.int64], mirrored: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(n, 32, 32) the first and the second pictures of pairs, the second mirrored where the pair is."""
    second = thumbs[pairs[:, 1]]
    second[mirrored] = second[mirrored, :, ::-1]
    return thumbs[pairs[:, 0]], second


def _code(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return pairs[:, 0] * count + pairs[:, 1]
