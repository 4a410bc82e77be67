"""Residual networks of 18 to 152 layers, untrained: torchvision's, with a stem for small pictures.

After He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (2015). Up to 64 px the stem is one 3×3
convolution without stride or pooling, as in that paper's CIFAR networks; above, the 7×7 one of its ImageNet networks.
Parameters carry torchvision's names. For trained weights ask for "timm:resnet18" or "torchvision:resnet18".

In: (N, 3, H, W) float, normalised. Out: logits (N, classes).
"""

from typing import Any, final

from torch import Tensor, nn

from shoebox.base.torchvision import import_torchvision
from shoebox.models.network import MODELS, Network

# The largest side, px, that gets the stem for small pictures: the ImageNet stem would leave it 2×2 positions at most.
SMALL = 64
DEPTHS = (18, 34, 50, 101, 152)


@final
class ResNet(Network):
    """Stem, four stages of residual blocks, global average pooling."""

    repeats = True

    def __init__(self, layers: Any, classes: int, size: int, dropout: float) -> None:
        """`layers` is the torchvision ResNet whose parts are taken over."""
        super().__init__()
        if size <= SMALL:
            self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.pool: nn.Module = nn.Identity()
        else:
            self.conv1 = layers.conv1
            self.pool = layers.maxpool
        self.bn1 = layers.bn1
        self.relu = nn.ReLU(inplace=True)
        self.layer1, self.layer2 = layers.layer1, layers.layer2
        self.layer3, self.layer4 = layers.layer3, layers.layer4
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(layers.fc.in_features, classes)

    def features(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        pooled: Tensor = self.dropout(x.mean((2, 3)))
        return pooled

    def stages(self) -> list[tuple[str, nn.Module]]:
        return [
            ("stem", nn.ModuleList([self.conv1, self.bn1])),
            ("layer1", self.layer1),
            ("layer2", self.layer2),
            ("layer3", self.layer3),
            ("layer4", self.layer4),
        ]


def _register(depth: int) -> None:
    def resnet(classes: int, size: int, *, dropout: float = 0.0) -> Network:
        models = import_torchvision().models
        layers = models.get_model(f"resnet{depth}", weights=None, zero_init_residual=True)
        return ResNet(layers, classes, size, dropout)

    resnet.__doc__ = f"Residual network of {depth} layers, untrained, with a stem for small pictures up to {SMALL} px."
    MODELS.register(resnet, name=f"resnet{depth}")


for _depth in DEPTHS:
    _register(_depth)
