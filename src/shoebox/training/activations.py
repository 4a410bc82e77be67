"""Training above a frozen boundary: the activations that cross it in place of the pictures.

In: tables of activations, one a view, or the trunk that makes them. Out: what the loop wants of a pack and of a
pipeline, so that the loop need not know that it is not looking at pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shoebox.data.index import ImageIndex
from shoebox.data.preprocess import Preprocess
from shoebox.data.rows import Rows
from shoebox.models import Network
from shoebox.pipeline import Pipeline
from shoebox.training.boundary import Boundary
from shoebox.training.features import Trunk


class Activations:
    """The activations of a pack's pictures, one view after the other.

    Attributes:
        index: the pack's rows, once a view: row r of view v is at v·N + r.
        skipped: none.

    Args:
        index: the pack's.
        tables: one a view, the plain one first; only the training part is known of the others.
        numbers: (N,) where in a table each row of the pack is.
    """

    skipped = ()

    def __init__(self, index: ImageIndex, tables: Sequence[Rows], numbers: NDArray[np.int64]) -> None:
        self._rows, self._tables, self._numbers = len(index), tables, numbers
        self.index = index.take(np.tile(np.arange(len(index)), len(tables)))

    def __len__(self) -> int:
        return len(self.index)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """(n, H, W, C), or (n, 1, 1, P) where they are no maps."""
        views, places = np.divmod(rows, self._rows)
        shape = self._tables[0].shape
        out = np.empty((len(rows), *shape), np.float16)
        for view in np.unique(views).tolist():
            chosen = views == view
            out[chosen] = self._tables[view].gather(self._numbers[places[chosen]])
        return out if len(shape) == 3 else out.reshape(len(rows), 1, 1, -1)


class Above(Pipeline):
    """The pipeline above a boundary.

    Args:
        network: cut at the boundary.
        preprocess: of the pictures, for whoever asks.
        shape: of the activations of one picture, as the network takes them.
    """

    def __init__(self, network: Network, preprocess: Preprocess, shape: tuple[int, ...]) -> None:
        super().__init__(network, preprocess)
        self.shape = shape

    def inputs(self, pictures: Tensor, size: int | None = None) -> Tensor:
        """Activations as `batches` gives them, (n, C, H, W) or (n, P, 1, 1) float16, to (n, *shape) float32."""
        if len(self.shape) == 3:
            return pictures.float().contiguous(memory_format=torch.channels_last)
        return pictures.float().reshape(len(pictures), *self.shape)


class Through(Pipeline):
    """The pipeline above a boundary for pictures: what lies below is computed by the trunk, without gradients.

    Args:
        trunk: a folded copy of the whole network.
        network: cut at the boundary.
    """

    def __init__(self, trunk: Trunk, network: Network, boundary: Boundary, preprocess: Preprocess) -> None:
        super().__init__(network, preprocess)
        # Not a submodule: it neither trains nor moves.
        self._below = (trunk, boundary)

    def inputs(self, pictures: Tensor, size: int | None = None) -> Tensor:
        """Stored pixels uint8 to the activations that cross the boundary, float32."""
        trunk, boundary = self._below
        return trunk.below(super().inputs(pictures, size), boundary).float()
