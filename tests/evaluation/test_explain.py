"""Heat lies where the evidence is, for every kind of network, and looking leaves no trace."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shoebox.base.errors import ShoeboxError
from shoebox.evaluation.explain import heat_maps
from shoebox.models import MODELS, build_model
from shoebox.models.network import Network


@dataclass
class Raw:
    """A network fed with pixels of 0…1."""

    network: Network

    def inputs(self, pictures: Tensor) -> Tensor:
        return pictures.float() / 255


class Colours(Network):
    """Class k is the k-th colour, found by a maximum or a mean over places."""

    def __init__(self, pool: str) -> None:
        super().__init__()
        self.eyes = nn.Conv2d(3, 3, 4, 4, bias=False)
        self.head = nn.Linear(3, 3, bias=False)
        self.pool = pool
        with torch.no_grad():
            self.eyes.weight.copy_(torch.eye(3)[:, :, None, None].expand(3, 3, 4, 4) / 16)
            self.head.weight.copy_(torch.eye(3))

    def features(self, x: Tensor) -> Tensor:
        seen: Tensor = self.eyes(x)
        return seen.amax((2, 3)) if self.pool == "max" else seen.mean((2, 3))

    def stages(self) -> list[tuple[str, nn.Module]]:
        return [("eyes", self.eyes)]


class Blind(Network):
    """Has no places at all."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
        self.head = nn.Linear(4, 3)

    def features(self, x: Tensor) -> Tensor:
        answer: Tensor = self.body(x)
        return answer

    def stages(self) -> list[tuple[str, nn.Module]]:
        return [("body", self.body)]


def composite() -> Tensor:
    """Red on the left, blue on the right, 32 px."""
    picture = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    picture[:, 0, :, :16] = 255
    picture[:, 2, :, 16:] = 255
    return picture


def noise(count: int, side: int = 32) -> Tensor:
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_the_heat_of_a_class_lies_on_its_half(pool: str) -> None:
    prepared = Raw(Colours(pool).eval())
    red, nothing, blue = heat_maps(prepared, composite().repeat(3, 1, 1, 1), np.array([0, 1, 2]))
    assert red.shape == (32, 32) and red.dtype == np.float32
    assert red[:, :16].sum() > 20 * red[:, 20:].sum() and red.max() == 1
    assert blue[:, 16:].sum() > 20 * blue[:, :12].sum() and blue.max() == 1
    assert not nothing.any()  # no green anywhere


LARGE = {"resnet34", "resnet50", "resnet101", "resnet152"}  # of one build with resnet18


@pytest.mark.parametrize(
    "spec",
    [
        *(name for name in MODELS if name not in LARGE),
        "speednet(width=0.25, depth=3, members=2)",
        "timm:test_vit",
        "timm:test_efficientnet",
        "timm:test_mambaout",
    ],
)
def test_every_network(spec: str) -> None:
    torch.manual_seed(0)
    network = build_model(spec, classes=3, size=64).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    heats = heat_maps(Raw(network), noise(3, 64), np.array([0, 1, 2]), batch_size=2)
    assert heats.shape == (3, 64, 64)
    assert np.isfinite(heats).all() and heats.min() >= 0 and heats.max() <= 1
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not network.training and not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_frozen_networks_and_callers_without_gradients() -> None:
    network = build_model("simple", classes=2, size=32).eval().requires_grad_(False)
    with torch.inference_mode():
        assert heat_maps(Raw(network), noise(1), np.array([1])).any()


def test_no_pictures() -> None:
    assert heat_maps(Raw(Colours("mean").eval()), noise(0), np.zeros(0, np.int64)).shape == (0, 32, 32)


def test_a_network_without_places_is_an_error() -> None:
    with pytest.raises(ShoeboxError, match="no heat map"):
        heat_maps(Raw(Blind().eval()), noise(1), np.array([0]))
