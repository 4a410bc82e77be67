"""How confidence agrees with being right, bin by bin: what the reliability diagram shows and the ECE sums up.

In: confidences and whether each was right. Out: the bins.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""As in Guo et al. 2017, so that figures can be held against published ones."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """B bins of confidence; empty ones are nan.

    Attributes:
        edges: (B + 1,) float64; bin b holds confidences above `edges[b]` up to and with `edges[b + 1]`, the first also
            its lower edge.
        count: (B,) int64 pictures.
        confidence: (B,) float64, the mean confidence, 0…1.
        accuracy: (B,) float64, the share that was right, 0…1.
    """

    edges: NDArray[np.float64]
    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error: |accuracy - confidence|, averaged over the pictures; nan without any."""
        if not self.count.sum():
            return float("nan")
        filled = self.count > 0
        gaps = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float(np.average(gaps, weights=self.count[filled]))


def reliability(
    confidences: NDArray[np.floating], right: NDArray[np.bool_], *, bins: int = BINS, adaptive: bool = False
) -> Reliability:
    """Sort confidences into bins.

    Args:
        confidences: (N,) in 0…1.
        right: (N,) whether the prediction was right.
        bins: how many, 1 or more.
        adaptive: bins of equally many pictures (edges at the quantiles; Nguyen and O'Connor 2015,
            doi.org/10.18653/v1/D15-1182) instead of bins of equal width. Equal confidences stay in one bin.
    """
    edges, places = place(confidences, bins=bins, adaptive=adaptive)
    count = np.bincount(places, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Reliability(
            edges,
            count,
            np.bincount(places, weights=confidences, minlength=bins) / count,
            np.bincount(places, weights=right, minlength=bins) / count,
        )


def place(
    confidences: NDArray[np.floating], *, bins: int, adaptive: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The edges (bins + 1,) and the bin (N,) of each confidence.

    Raises:
        ValueError: fewer than one bin.
    """
    if bins < 1:
        raise ValueError(f"bins={bins}: expected 1 or more")
    shares = np.linspace(0, 1, bins + 1)
    edges = np.quantile(confidences, shares) if adaptive and len(confidences) else shares
    return edges, np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, bins - 1)
