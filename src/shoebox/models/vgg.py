"""The VGG-style ladder network for small pictures: blocks of convolution, convolution, pooling.

After Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2014). Its three
switches are the rungs of the recipe `cifar-ladder`: `batchnorm`, `dropout` and, outside the network, augmentation.

In: (N, 3, H, W) float, normalised. Out: logits (N, classes).
"""

from typing import final

from torch import Tensor, nn

from shoebox.base.errors import UsageError
from shoebox.base.winograd import Conv3x3
from shoebox.models.network import MODELS, Network

# How much the dropout rises from one block to the next, and once more for the dense layer.
RISE = 0.1


@final
class VGG(Network):
    """`blocks` blocks, each twice as wide as the one before, then a dense layer; dropout rises towards the head."""

    repeats = True

    def __init__(
        self, classes: int, size: int, blocks: int, width: int, batchnorm: bool, dropout: float, hidden: int
    ) -> None:
        super().__init__()
        side = size // 2**blocks
        if blocks < 1 or side < 1:
            raise UsageError(f"vgg: {blocks} blocks need pictures of at least {2 ** max(blocks, 1)} px, not {size} px")
        widths = [width * 2**i for i in range(blocks)]
        rates = [dropout + RISE * i if dropout else 0.0 for i in range(blocks + 1)]
        if not 0 <= rates[-1] < 1:
            raise UsageError(f"vgg: dropout={dropout} rises by {RISE} a block to {rates[-1]:.1f}: it must stay below 1")
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *_convolution(before, after, batchnorm),
                *_convolution(after, after, batchnorm),
                nn.MaxPool2d(2),
                *_dropout(rate),
            )
            for before, after, rate in zip([3, *widths], widths, rates, strict=False)
        )
        # At most 4×4 positions reach the dense layer: all of them at 32 px, and larger pictures do not make it larger.
        grid = min(4, side)
        norm = [nn.BatchNorm1d(hidden)] if batchnorm else []
        self.dense = nn.Sequential(
            nn.AdaptiveAvgPool2d(grid),
            nn.Flatten(),
            nn.Linear(widths[-1] * grid**2, hidden),
            nn.ReLU(),
            *norm,
            *_dropout(rates[-1]),
        )
        self.head = nn.Linear(hidden, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")

    def features(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        features: Tensor = self.dense(x)
        return features

    def stages(self) -> list[tuple[str, nn.Module]]:
        return [*((f"blocks.{i}", block) for i, block in enumerate(self.blocks)), ("dense", self.dense)]


def _convolution(before: int, after: int, batchnorm: bool) -> list[nn.Module]:
    layers: list[nn.Module] = [Conv3x3(before, after), nn.ReLU()]
    return [*layers, nn.BatchNorm2d(after)] if batchnorm else layers


def _dropout(rate: float) -> list[nn.Module]:
    return [nn.Dropout(rate)] if rate else []


@MODELS.register
def vgg(
    classes: int,
    size: int,
    *,
    blocks: int = 3,
    width: int = 32,
    batchnorm: bool = True,
    dropout: float = 0.2,
    hidden: int = 128,
) -> Network:
    """Blocks of two convolutions and a pooling, with batch norm and rising dropout as switches."""
    return VGG(classes, size, blocks, width, batchnorm, dropout, hidden)
