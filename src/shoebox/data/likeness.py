"""How alike two pictures are, whatever their size, compression, brightness and a small crop.

In: pictures as stored, or grey thumbnails of 32 × 32. Out: descriptors to search by, a score from -1 to 1 of pairs.

Both look at a band of spatial frequencies only (a difference of Gaussians, as in Marr and Hildreth 1980): what is
coarser is light and shade that unrelated pictures share, what is finer is what compression changes. The score of a pair
is the correlation of the two bands after one is moved and scaled onto the other by least squares on its gradients
(Lucas and Kanade 1981), twice, so that a crop by some per cent counts as the same picture.
"""

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from shoebox.data.stream import processors

Floats = NDArray[np.float32]

SIDE = 32
DIMENSIONS = 24
"""Of a descriptor. With 24 of the 100 lowest frequencies, half whitened, a crop by 5 % keeps a cosine of 0.87
(CIFAR-10) to 0.93 (Imagenette) in 19 of 20 pictures."""

_FINE = (1.0, 3.0)  # the Gaussians' standard deviations, in pixels of the thumbnail
_COARSE = (2.5, 10.0)
_FREQUENCIES = 10  # along each side, of a descriptor
_DETAILS = 16  # the same of `details`
_CHUNK = 2048
_PAIRS = 512  # scored at a time by each thread
_MARGIN = 4  # pixels of a thumbnail on each side that are not its middle
_HOPEFUL = 0.65  # the likeness after a first alignment that is worth a second; a crop by 5 % reaches 0.8
_NEARLY = 0.62  # the same as far as `details` tell: of 150,000 pairs of CIFAR-10, one above 0.65 was below
_FAR = 0.18  # aligning the other as well adds more to two of 3,200 twins of CIFAR-10, to one of 8,000 crops by 5 %
_PROMISING = 0.4  # the likeness that is worth aligning; before that, a crop by 5 % keeps 0.5 in 49 of 50 pictures


def grey_thumbs(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, S, S, 3) RGB to (n, 32, 32) grey, with antialiasing (area-weighted, or linear where S is below 32)."""
    # Integers: three times as fast as the product of floats. The weights are those of ITU-R BT.601.
    red, green, blue = (pictures[..., c].astype(np.uint16) for c in range(3))
    grey = ((77 * red + 150 * green + 29 * blue) >> 8).astype(np.uint8)
    side = grey.shape[1]
    if side == SIDE:
        return grey
    weights = _resizing(side)
    return np.clip(np.rint(weights @ grey.astype(np.float32) @ weights.T), 0, 255).astype(np.uint8)


def contrast(thumbs: NDArray[np.uint8]) -> Floats:
    """(n,) how much there is to compare: the standard deviation of the band, in grey levels; a blank one has 0."""

    def spread(start: int) -> Floats:
        deviation: Floats = _band(thumbs[start : start + _PAIRS], *_FINE).std((1, 2))
        return deviation

    with ThreadPoolExecutor(processors()) as threads:
        return np.concatenate([np.empty(0, np.float32), *threads.map(spread, range(0, len(thumbs), _PAIRS))])


def descriptors(thumbs: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Unit vectors (n, D) whose angles tell how alike pictures are, and (n, D) those of the mirrored pictures.

    The lowest frequencies of the band, decorrelated over these pictures and half whitened, so that no bit of a hash
    made of them is wasted.
    """
    basis = _frequencies(_COARSE, _FREQUENCIES)
    flat = thumbs.reshape(len(thumbs), -1)
    plain = np.concatenate([flat[i : i + _CHUNK].astype(np.float32) @ basis for i in range(0, len(flat), _CHUNK)])
    signs = np.tile((-1.0) ** np.arange(_FREQUENCIES), _FREQUENCIES).astype(np.float32)
    flipped = plain * signs
    # Mean and covariance of both together: mirrored, the odd frequencies change their sign.
    middle = plain.mean(0, dtype=np.float64) * (signs > 0)
    numbers = plain.astype(np.float64)
    products = numbers.T @ numbers / len(plain) * (np.outer(signs, signs) > 0)
    values, vectors = np.linalg.eigh(products - np.outer(middle, middle) + 1e-6 * np.eye(len(signs)))
    middle = middle.astype(np.float32)
    values, vectors = values[::-1][:DIMENSIONS], vectors[:, ::-1][:, :DIMENSIONS]
    # Either sign is an eigenvector: the one whose largest entry is positive, whatever this machine's library gives.
    vectors = vectors * np.sign(np.take_along_axis(vectors, np.abs(vectors).argmax(0)[None], 0))
    turn = (vectors * (values + 1e-3 * values[0]) ** -0.25).astype(np.float32)
    return _unit((plain - middle) @ turn), _unit((flipped - middle) @ turn)


def details(thumbs: NDArray[np.uint8]) -> Floats:
    """Unit vectors (n, 256) whose products are nearly the likeness before alignment."""
    basis = _frequencies(_FINE, _DETAILS)
    flat = thumbs.reshape(len(thumbs), -1)
    parts = [_unit(flat[i : i + _CHUNK].astype(np.float32) @ basis) for i in range(0, len(flat), _CHUNK)]
    return np.concatenate([np.empty((0, _DETAILS**2), np.float32), *parts])


def promising(fine: Floats, pairs: NDArray[np.int64], mirrored: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(P,) which pairs `likeness` may find alike, as far as their details tell: all but those that it gives up after a
    first alignment.

    Args:
        fine: (N, 256), of `details`.
        pairs: (P, 2) rows. Those whose first is the same are best given one after another.
        mirrored: (P,) whether the second is to be mirrored.
    """
    odd = np.tile((-1.0) ** np.arange(_DETAILS), _DETAILS).astype(np.float32)
    signs = np.stack([np.ones_like(odd), odd])  # mirrored, odd waves change their sign

    def worth(start: int) -> NDArray[np.bool_]:
        here = slice(start, start + _CHUNK)
        first, second = pairs[here].T
        one, other = (fine.take(rows, 0, mode="clip") for rows in (first, second))  # of several threads at a time
        other *= signs[mirrored[here].astype(np.int64)]
        worthy = np.einsum("nd,nd->n", one, other) > _PROMISING
        chosen = np.flatnonzero(worthy)
        rows, which = np.unique(first[chosen], return_inverse=True)
        # In grey levels, as `_fitted` expects them.
        worthy[chosen] = _fitted(_waves_moved(100 * fine[rows]), 100 * other[chosen], which)[0] > _NEARLY
        return worthy

    with ThreadPoolExecutor(processors()) as threads:
        return np.concatenate([np.empty(0, np.bool_), *threads.map(worth, range(0, len(pairs), _CHUNK))])


def likeness(first: NDArray[np.uint8], second: NDArray[np.uint8], least: float = 0.0) -> Floats:
    """(n,) the score of n pairs of thumbnails (n, 32, 32): 1 for the same picture, around 0 for two unrelated ones.

    Pairs whose first is the same are best given one after another: it is then worked out once. Those below `least` need
    not be exact.
    """

    def score(start: int) -> Floats:
        one, other = first[start : start + _PAIRS], second[start : start + _PAIRS]
        new = np.ones(len(one), bool)
        new[1:] = (one[1:] != one[:-1]).any((1, 2))
        a, b, which = _band(one[new], *_FINE), _band(other, *_FINE), np.cumsum(new) - 1
        flat = _unit(a.reshape(len(a), SIDE * SIDE))
        scores = np.einsum("nd,nd->n", flat[which], _unit(b.reshape(len(b), SIDE * SIDE)))
        some = np.flatnonzero(scores > _PROMISING)
        fitted, motion = _fitted(_terms(a), b[some], which[some])
        scores[some] = np.maximum(scores[some], fitted)
        hopeful = np.flatnonzero(scores[some] > _HOPEFUL)
        motion, some = motion[hopeful], some[hopeful]
        a, b = a[which[some]], b[some]
        scores[some] = np.maximum(scores[some], _aligned(a, b, motion))
        worthy = np.flatnonzero(scores[some] > least - _FAR)
        a, b, some = a[worthy], b[worthy], some[worthy]
        fitted, back = _fitted(_terms(b), a)
        scores[some] = np.maximum(scores[some], np.maximum(fitted, _aligned(b, a, back)))
        return scores

    with ThreadPoolExecutor(processors()) as threads:
        scores = list(threads.map(score, range(0, len(first), _PAIRS)))
    return np.concatenate([np.empty(0, np.float32), *scores])


def middle_likeness(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Floats:
    """(n,) the likeness of the middles of n pairs of thumbnails: what a frame of the same kind cannot make alike."""
    weights = _resizing(SIDE - 2 * _MARGIN)
    inner = slice(_MARGIN, SIDE - _MARGIN)
    middles = [weights @ thumbs[:, inner, inner].astype(np.float32) @ weights.T for thumbs in (first, second)]
    return likeness(*(np.clip(np.rint(middle), 0, 255).astype(np.uint8) for middle in middles))


def _aligned(source: Floats, target: Floats, motion: Floats) -> Floats:
    """The correlation once `source` is moved and scaled onto `target` by `motion` (n, 4), by at most two pixels."""
    across, down = (np.clip(motion[:, i], -2, 2) for i in (0, 1))
    wider, higher = (np.clip(motion[:, i], -2, 2) for i in (2, 3))
    place = np.linspace(-1, 1, SIDE, dtype=np.float32)
    columns = _sampling(across[:, None] + wider[:, None] * place)
    rows = _sampling(down[:, None] + higher[:, None] * place)
    return _fitted(_terms(rows @ source @ columns.transpose(0, 2, 1)), target)[0]


def _terms(source: Floats) -> Floats:
    """(n, 5, 1024): bands (n, 32, 32), and by how much they change when moved right, down, made wider, higher."""
    place = np.linspace(-1, 1, SIDE, dtype=np.float32)
    terms = np.empty((len(source), 5, SIDE, SIDE), np.float32)
    terms[:, 0] = source
    terms[:, 2], terms[:, 1] = np.gradient(source, axis=(1, 2))
    np.multiply(terms[:, 1], place, out=terms[:, 3])
    np.multiply(terms[:, 2], place[:, None], out=terms[:, 4])
    return terms.reshape(len(source), 5, SIDE * SIDE)


def _waves_moved(fine: Floats) -> Floats:
    """(n, 5, 256): the same of `details`, as far as their waves show it."""
    place = np.linspace(-1, 1, SIDE)
    waves = _waves(_DETAILS)
    slopes = np.gradient(np.eye(SIDE), axis=0)
    moved, scaled = ((waves @ change @ waves.T).astype(np.float32) for change in (slopes, place[:, None] * slopes))
    terms = np.empty((len(fine), 5, _DETAILS, _DETAILS), np.float32)
    source = fine.reshape(-1, _DETAILS, _DETAILS)
    for i, changed in enumerate((source, source @ moved.T, moved @ source, source @ scaled.T, scaled @ source)):
        terms[:, i] = changed
    return terms.reshape(len(fine), 5, _DETAILS**2)


def _fitted(terms: Floats, target: Floats, which: NDArray[np.int64] | None = None) -> tuple[Floats, Floats]:
    """Least squares of `target` on the terms of another: the correlation (n,), and the motion (n, 4): right, down,
    wider, higher, in pixels (of the edge, for the last two).

    Args:
        terms: (m, 5, D) as of `_terms`.
        target: (n, …), D numbers each.
        which: (n,) whose terms each is fitted by; by default those at its own place.
    """
    normal = terms @ terms.transpose(0, 2, 1)
    if which is not None:
        terms, normal = terms.take(which, 0, mode="clip"), normal[which]
    wanted = target.reshape(len(target), terms.shape[2])
    right = (terms @ wanted[..., None])[..., 0]
    ridge = 1e-4 * np.trace(normal, axis1=1, axis2=2)[:, None, None] / 5 + 1e-3
    solved = np.linalg.solve(normal + ridge * np.eye(5, dtype=np.float32), right[..., None])[..., 0]
    # Lengths and product of what is fitted and what is wanted follow from those of the terms.
    length = np.sqrt(np.maximum((solved * (normal @ solved[..., None])[..., 0]).sum(1), 1e-12))
    length *= np.sqrt(np.maximum(np.einsum("nd,nd->n", wanted, wanted), 1e-12))
    score = (solved * right).sum(1) / length * np.sign(solved[:, 0])
    gain = np.where(np.abs(solved[:, :1]) < 0.1, np.inf, solved[:, :1])
    return score.astype(np.float32), (solved[:, 1:] / gain).astype(np.float32)


def _sampling(shift: Floats) -> Floats:
    """(n, 32, 32) matrices that read a row at 0 … 31 plus (n, 32) shifts, by cubic convolution (Keys 1981)."""
    at = np.arange(SIDE, dtype=np.float32) + shift
    away = np.abs(np.clip(at, 0, SIDE - 1)[..., None] - np.arange(SIDE, dtype=np.float32))
    near = (1.5 * away - 2.5) * away**2 + 1
    far = ((-0.5 * away + 2.5) * away - 4) * away + 2
    weights: Floats = np.where(away < 1, near, np.where(away < 2, far, 0)).astype(np.float32)
    return weights / weights.sum(-1, keepdims=True)


def _band(thumbs: NDArray[np.uint8], fine: float, coarse: float) -> Floats:
    numbers = thumbs.astype(np.float32)
    narrow, wide = _blur(fine), _blur(coarse)
    band: Floats = narrow @ numbers @ narrow.T - wide @ numbers @ wide.T
    return band


@functools.cache
def _blur(sigma: float) -> Floats:
    """(32, 32): multiplication from the left and right blurs by a Gaussian that is cut off at the edges."""
    place = np.arange(SIDE)
    weights = np.exp(-0.5 * ((place[:, None] - place) / sigma) ** 2)
    # What float32 holds only as a subnormal number made products here 20 times as slow (Intel), and adds nothing.
    weights[weights < 1e-9] = 0
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


@functools.cache
def _frequencies(band: tuple[float, float], count: int) -> Floats:
    """(1024, count²): from a thumbnail's pixels to the lowest cosine frequencies of a band, those across last."""
    waves = _waves(count)
    parts = [np.kron(waves @ _blur(sigma), waves @ _blur(sigma)) for sigma in band]
    return np.ascontiguousarray((parts[0] - parts[1]).T.astype(np.float32))


def _waves(count: int) -> NDArray[np.float64]:
    """(count, 32): the lowest cosine waves along a side, of length 1."""
    waves = np.cos(np.pi * (np.arange(SIDE) + 0.5) * np.arange(count)[:, None] / SIDE)
    return waves / np.linalg.norm(waves, axis=1, keepdims=True)


@functools.cache
def _resizing(side: int) -> Floats:
    """(32, side): rows of triangles, as wide as antialiasing asks."""
    scale = side / SIDE
    middle = (np.arange(SIDE) + 0.5) * scale - 0.5
    weights = np.maximum(0, 1 - np.abs(np.arange(side) - middle[:, None]) / max(scale, 1))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _unit(vectors: NDArray[np.floating]) -> Floats:
    length = np.sqrt((vectors * vectors).sum(-1, keepdims=True))
    return (vectors / np.maximum(length, 1e-6)).astype(np.float32)
