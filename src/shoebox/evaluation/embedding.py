"""A map of the pictures as the network sees them: those with like features lie side by side.

In: an Evaluation that kept its features. Out: a `Map` of some of its rows on a plane, and for any features the nearest
of others.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import MissingExtra, UsageError
from shoebox.evaluation.evaluation import Evaluation

MOST = 3000
"""Points of a map: t-SNE of 3,000 takes about ten seconds, and more are not told apart on a page."""
COMPONENTS = 50
"""Principal components that are kept before the map is made, as van der Maaten and Hinton do."""
CHUNK_CELLS = 4_000_000  # likenesses at a time


@dataclass(frozen=True, eq=False)
class Map:
    """Pictures on a plane.

    Attributes:
        method: "tsne" or "umap".
        rows: (n,) int64, ascending: which rows of the evaluation are shown.
        places: (n, 2) float32, each axis within 0…1, the aspect ratio kept. Only nearness means something.
        total: how many pictures the evaluation has.
    """

    method: str
    rows: NDArray[np.int64]
    places: NDArray[np.float32]
    total: int


def make_map(
    evaluation: Evaluation, method: Literal["tsne", "umap"] = "tsne", *, most: int = MOST, seed: int = 0
) -> Map:
    """Lay the pictures out on a plane by their features.

    t-SNE: van der Maaten and Hinton 2008 (jmlr.org/papers/v9/vandermaaten08a.html). UMAP: McInnes et al. 2018
    (arXiv:1802.03426), with the extra "umap". Both on the first 50 principal components, started from the first two, so
    that the same features give the same map.

    Args:
        evaluation: with features.
        most: points at most; see `choose`.

    Raises:
        UsageError: the evaluation kept no features, or there is no such method.
        MissingExtra: "umap" without umap-learn.
    """
    if method not in ("tsne", "umap"):
        raise UsageError(f"no map is called {method!r}: choose from tsne, umap")
    if evaluation.features is None:
        raise UsageError("the evaluation kept no features: evaluate again to have them")
    rows = choose(evaluation, most, seed)
    features = _components(evaluation.features[rows].astype(np.float32), seed)
    if len(rows) < 4:  # too few for either to say more than their first components
        places = np.zeros((len(rows), 2), np.float32)
        places[:, : features.shape[1]] = features[:, :2]
    else:
        places = _tsne(features, seed) if method == "tsne" else _umap(features, seed)
    low = places.min(axis=0) if len(rows) else np.zeros(2)
    span = float(np.ptp(places, axis=0).max()) if len(rows) else 0.0
    return Map(method, rows, ((places - low) / (span or 1.0)).astype(np.float32), len(evaluation))


def choose(evaluation: Evaluation, most: int, seed: int = 0) -> NDArray[np.int64]:
    """Rows to show where there is no room for all: mistakes first, in two thirds of the room at most; then the rest,
    every class (or predicted class, where a label is missing) by its share.

    Returns:
        (n,) int64, ascending, n ≤ most.
    """
    if len(evaluation) <= most:
        return np.arange(len(evaluation))
    random = np.random.default_rng(seed)
    wrong = random.permutation(evaluation.wrong())[: 2 * most // 3]
    rest = random.permutation(np.setdiff1d(np.arange(len(evaluation)), evaluation.wrong()))
    groups = np.where(evaluation.labels[rest] >= 0, evaluation.labels[rest], evaluation.predictions[rest])
    return np.sort(np.concatenate([wrong, rest[by_share(groups, most - len(wrong))]]))


def by_share(groups: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Positions of `count` members so that each group has its share, the first of each group first."""
    sizes = np.bincount(groups)
    order = np.argsort(groups, kind="stable")
    turn = np.empty(len(groups), dtype=np.int64)
    turn[order] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    # The m-th of n members comes at (m + 1/2)/n: so any beginning of this order holds each group by its share.
    return np.argsort((turn + 0.5) / sizes[groups], kind="stable")[:count]


def nearest(
    features: NDArray[np.floating], others: NDArray[np.floating], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The most alike of others, by the cosine between features.

    Args:
        features: (N, D).
        others: (M, D).
        count: how many; all M if there are fewer.

    Returns:
        rows of `others` (N, count), the most alike first, and their likeness (N, count), -1…1.
    """
    count = min(count, len(others))
    one, two = _unit(features), _unit(others)
    rows = np.empty((len(one), count), np.int64)
    likeness = np.empty((len(one), count), np.float32)
    step = max(1, CHUNK_CELLS // max(len(two), 1))
    for start in range(0, len(one), step):
        alike = one[start : start + step] @ two.T
        best = np.argpartition(-alike, count - 1, axis=1)[:, :count] if count else np.empty((len(alike), 0), np.int64)
        found = np.take_along_axis(alike, best, axis=1)
        order = np.argsort(-found, axis=1, kind="stable")
        rows[start : start + step] = np.take_along_axis(best, order, axis=1)
        likeness[start : start + step] = np.take_along_axis(found, order, axis=1)
    return rows, likeness


def _unit(features: NDArray[np.floating]) -> NDArray[np.float32]:
    wide = features.astype(np.float32)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _components(features: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """The first principal components, scaled so that the first has variance 1."""
    from sklearn.decomposition import PCA

    kept = min(COMPONENTS, *features.shape)
    if len(features) < 2 or not np.ptp(features):
        return np.zeros((len(features), kept), np.float32)
    found = PCA(kept, random_state=seed).fit_transform(features)
    return np.asarray(found / max(float(found[:, 0].std()), 1e-12), dtype=np.float32)


def _tsne(features: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    from sklearn.manifold import TSNE

    # The start that sklearn's init="pca" would compute again.
    start = np.zeros((len(features), 2), np.float32)
    start[:, : features.shape[1]] = features[:, :2] * 1e-4
    perplexity = min(30.0, (len(features) - 1) / 3)
    # One thread: two that wait for each other took six times as long on a busy machine. The angle halves the time and
    # left the trustworthiness of maps of CIFAR-10 as it was.
    made = TSNE(2, perplexity=perplexity, init=start, random_state=seed, angle=0.8, n_jobs=1).fit_transform(features)
    return np.asarray(made, dtype=np.float32)


def _umap(features: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    try:
        from umap import UMAP
    except ImportError:
        raise MissingExtra("umap-learn", "umap") from None
    neighbours = min(15, len(features) - 1)
    made = UMAP(n_neighbors=neighbours, init="pca", random_state=seed, n_jobs=1).fit_transform(features)
    return np.asarray(made, dtype=np.float32)
