"""A small convolutional network to read, copy and edit: three blocks of convolution, then a dense layer.

In: (N, 3, H, W) float, normalised. Out: logits (N, classes). Good for pictures of 8 to 64 px.
"""

from typing import final

from torch import Tensor, nn

from shoebox.base.errors import UsageError
from shoebox.base.winograd import Conv3x3
from shoebox.models.network import MODELS, Network


@final
class Simple(Network):
    """Three blocks (3×3 convolution, batch norm, ReLU, 2×2 max pooling), each twice as wide as the one before."""

    repeats = True

    def __init__(self, classes: int, size: int, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        if size < 8:
            raise UsageError(f"simple: pictures of {size} px are too small for three poolings: at least 8 px")
        widths = [width, 2 * width, 4 * width]
        self.blocks = nn.ModuleList(
            nn.Sequential(Conv3x3(before, after, bias=False), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2))
            for before, after in zip([3, *widths], widths, strict=False)
        )
        # At most 4×4 positions reach the dense layer, so that larger pictures do not make it larger.
        grid = min(4, size // 8)
        self.dense = nn.Sequential(
            nn.AdaptiveAvgPool2d(grid),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(widths[-1] * grid**2, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.head = nn.Linear(hidden, classes)

    def features(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        features: Tensor = self.dense(x)
        return features

    def stages(self) -> list[tuple[str, nn.Module]]:
        return [*((f"blocks.{i}", block) for i, block in enumerate(self.blocks)), ("dense", self.dense)]


@MODELS.register
def simple(classes: int, size: int, *, width: int = 32, hidden: int = 128, dropout: float = 0.3) -> Network:
    """Three convolution blocks and a dense layer: the network to copy and edit."""
    return Simple(classes, size, width, hidden, dropout)
