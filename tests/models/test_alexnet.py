"""The AlexNet of the issue, to the parameter."""

import torch
from torch import nn

from shoebox.models import build_model


def test_it_has_exactly_the_parameters_asked_for() -> None:
    network = build_model("alexnet", classes=25, size=224)
    assert sum(p.numel() for p in network.parameters()) == 59_134_041
    assert isinstance(network.head, nn.Linear) and network.head.in_features == 512
    kinds = [type(m).__name__ for m in network.modules() if not list(m.children())]
    large, convolution = ["Conv2d", "ReLU", "BatchNorm2d"], ["Conv3x3", "ReLU", "BatchNorm2d"]
    dense = ["Dropout", "Linear", "ReLU", "BatchNorm1d"]
    assert kinds == [
        *large,
        "MaxPool2d",
        *large,
        "MaxPool2d",
        *convolution * 3,
        "MaxPool2d",
        "AdaptiveAvgPool2d",
        "Flatten",
        *dense * 3,
        "Linear",
    ]


def test_small_pictures_are_enlarged() -> None:
    network = build_model("alexnet", classes=2, size=32).eval()
    small = torch.randn(1, 3, 32, 32)
    large = nn.functional.interpolate(small, size=(63, 63), mode="bilinear", align_corners=False)
    with torch.no_grad():
        assert torch.equal(network(small), network(large))
