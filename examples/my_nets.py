"""A network of one's own: shoebox train pictures/ --import examples/my_nets.py --model 'my_net(width=64)'"""

from torch import Tensor, nn

from shoebox import MODELS, Network


class MyNet(Network):
    """Two convolutions and the mean over what they saw."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        return self.body(x)

    def stages(self) -> list[tuple[str, nn.Module]]:
        return [("body", self.body)]


@MODELS.register
def my_net(classes: int, size: int, *, width: int = 32) -> Network:
    """A small network to start from."""
    return MyNet(classes, width)
