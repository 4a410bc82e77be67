"""The AlexNet-inspired network: five convolutions and four dense layers, with batch norm after each ReLU.

After Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks" (2012), in
the single-tower widths of torchvision's AlexNet, with batch norm and a 512-wide layer before the classes.

In: (N, 3, H, W) float, normalised. Out: logits (N, classes). Exactly 59,134,041 parameters at 25 classes.
"""

from typing import final

from torch import Tensor, nn
from torch.nn import functional as F

from shoebox.base.winograd import Conv3x3
from shoebox.models.network import MODELS, Network

# The first convolution and the three poolings divide the side by 32 and need a border: below this nothing is left.
SMALLEST = 63


@final
class AlexNet(Network):
    """Pictures smaller than 63 px are enlarged to 63 px (bilinear) inside the network; its strides need that many."""

    repeats = True

    def __init__(self, classes: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.BatchNorm2d(64), nn.MaxPool2d(3, 2)
                ),
                nn.Sequential(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.BatchNorm2d(192), nn.MaxPool2d(3, 2)),
                nn.Sequential(Conv3x3(192, 384), nn.ReLU(), nn.BatchNorm2d(384)),
                nn.Sequential(Conv3x3(384, 256), nn.ReLU(), nn.BatchNorm2d(256)),
                nn.Sequential(Conv3x3(256, 256), nn.ReLU(), nn.BatchNorm2d(256), nn.MaxPool2d(3, 2)),
            ]
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(6), nn.Flatten())
        self.dense = nn.ModuleList(
            [
                nn.Sequential(nn.Dropout(dropout), nn.Linear(9216, 4096), nn.ReLU(), nn.BatchNorm1d(4096)),
                nn.Sequential(nn.Dropout(dropout), nn.Linear(4096, 4096), nn.ReLU(), nn.BatchNorm1d(4096)),
                nn.Sequential(nn.Dropout(dropout), nn.Linear(4096, 512), nn.ReLU(), nn.BatchNorm1d(512)),
            ]
        )
        self.head = nn.Linear(512, classes)

    def features(self, x: Tensor) -> Tensor:
        if min(x.shape[-2:]) < SMALLEST:
            x = F.interpolate(x, size=(SMALLEST, SMALLEST), mode="bilinear", align_corners=False)
        for block in self.blocks:
            x = block(x)
        x = self.pool(x)
        for layer in self.dense:
            x = layer(x)
        return x

    def stages(self) -> list[tuple[str, nn.Module]]:
        blocks = [(f"blocks.{i}", block) for i, block in enumerate(self.blocks)]
        return [*blocks, *((f"dense.{i}", layer) for i, layer in enumerate(self.dense))]


@MODELS.register
def alexnet(classes: int, size: int, *, dropout: float = 0.1) -> Network:
    """AlexNet with batch norm after each ReLU: large, for pictures of about 224 px."""
    del size  # the adaptive pooling takes every size
    return AlexNet(classes, dropout)
