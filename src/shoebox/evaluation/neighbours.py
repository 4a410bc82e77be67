"""The nearest neighbours of pictures among each other, by a network's features.

In: features (N, D), best as their main directions. Out: for each picture its k nearest others and how near they are.
"""

import numpy as np
import torch
from numpy.typing import NDArray

_CHUNK = 1024


def nearest(features: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k nearest others of each picture by cosine.

    Args:
        features: (N, D).
        k: fewer where there are fewer others.

    Returns:
        (N, k) int64 rows, nearest first, and (N, k) float32 cosines.
    """
    vectors = torch.nn.functional.normalize(torch.from_numpy(features))
    k = min(k, len(vectors) - 1)
    rows, cosines = [], []
    for start in range(0, len(vectors), _CHUNK):
        found = vectors[start : start + _CHUNK] @ vectors.T
        here = torch.arange(len(found))
        found[here, here + start] = -2.0
        near, place = found.topk(max(k, 0))
        rows.append(place.numpy())
        cosines.append(near.numpy())
    return np.concatenate(rows), np.concatenate(cosines)


def directions(features: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """(N, ≤ count) unit vectors: the features less their mean along their main directions, half whitened."""
    centred = torch.from_numpy(np.asarray(features, np.float32))
    centred = centred - centred.mean(0)
    values, vectors = torch.linalg.eigh((centred.T @ centred).double() / max(len(centred), 1))
    values, vectors = values[-count:].clamp_min(1e-6 * float(values[-1].clamp_min(1e-12))), vectors[:, -count:]
    unit: NDArray[np.float32] = torch.nn.functional.normalize(centred @ (vectors * values**-0.25).float()).numpy()
    return unit


def votes(
    labels: NDArray[np.int64], rows: NDArray[np.int64], cosines: NDArray[np.float32], classes: int
) -> NDArray[np.float64]:
    """(N, K) probabilities from the labels of each picture's neighbours, the nearer counting more, by the fourth power
    of the cosine; every class keeps a fiftieth of the usual sum, so that none is impossible."""
    weights = np.maximum(cosines, 0.0).astype(np.float64) ** 4
    counted = np.zeros((len(rows), classes))
    for column in range(rows.shape[1]):
        counted[np.arange(len(rows)), labels[rows[:, column]]] += weights[:, column]
    counted += max(0.02 * float(counted.sum(1).mean()), 1e-9)
    shares: NDArray[np.float64] = counted / counted.sum(1, keepdims=True)
    return shares
