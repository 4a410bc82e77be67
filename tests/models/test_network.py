"""The contract every network keeps, run on every entry of the registry; freezing."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from shoebox.base.errors import UsageError
from shoebox.models import MODELS, Network, build_model, freeze, set_training

Check = Callable[[Network, int, int], None]
CLASSES, SIZE = 5, 32


@pytest.mark.parametrize("name", list(MODELS))
def test_every_network_from_scratch_keeps_the_contract(name: str, check_contract: Check) -> None:
    torch.manual_seed(0)
    network = build_model(name, classes=CLASSES, size=SIZE)
    check_contract(network, CLASSES, SIZE)
    with torch.device("meta"):
        twin = build_model(name, classes=CLASSES, size=SIZE)
    twin.load_state_dict(network.state_dict(), assign=True)
    pictures = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad():
        assert torch.equal(twin.eval()(pictures), network(pictures))


@pytest.mark.parametrize("name", ["simple", "vgg", "resnet18", "speednet"])
def test_networks_take_larger_pictures(name: str) -> None:
    network = build_model(name, classes=3, size=72).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 3, 72, 72)).shape == (1, 3)


@pytest.mark.parametrize("name", list(MODELS))
def test_stages_follow_the_picture(name: str) -> None:
    """A hook on each stage's first convolution fires in the order of the stages."""
    with torch.device("meta"):
        network = build_model(name, classes=2, size=SIZE).eval()
    seen: list[str] = []
    for stage_name, stage in network.stages():
        layer = next(m for m in stage.modules() if isinstance(m, nn.Conv2d | nn.Linear))
        layer.register_forward_hook(lambda *_, stage_name=stage_name: seen.append(stage_name))
    with torch.no_grad():
        network(torch.zeros(1, 3, SIZE, SIZE, device="meta"))
    assert seen == [stage_name for stage_name, _ in network.stages()]


@pytest.mark.parametrize("name", list(MODELS))
def test_a_network_that_repeats_reads_nothing_back_and_leaves_python_no_choice(name: str) -> None:
    with FakeTensorMode():  # its tensors have no contents that could be read
        network = build_model(name, classes=CLASSES, size=SIZE).train()
        if not network.repeats:
            pytest.skip("does not say so")
        before = random.getstate(), np.random.get_state()[1].tobytes()
        loss = network(torch.zeros(4, 3, SIZE, SIZE)).sum()
        loss.backward()
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == before


def test_unknown_networks_and_options_name_the_choices() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'simple'"):
        build_model("simpel", classes=2, size=32)
    with pytest.raises(UsageError, match="width=32"):
        build_model("simple(widht=3)", classes=2, size=32)
    with pytest.raises(UsageError, match="no source of networks"):
        build_model("keras:resnet", classes=2, size=32)
    with pytest.raises(UsageError, match="at least one class"):
        build_model("simple", classes=0, size=32)


def trainable(network: Network) -> list[str]:
    return [
        name
        for name, part in [*network.stages(), ("head", network.head)]
        if any(p.requires_grad for p in part.parameters())
    ]


def test_freeze_counts_stages_from_the_head() -> None:
    network = build_model("vgg", classes=4, size=32)
    assert freeze(network, "head") == sum(p.numel() for p in network.head.parameters())
    assert trainable(network) == ["head"]
    freeze(network, 2)
    assert trainable(network) == ["blocks.2", "dense", "head"]
    assert freeze(network, 4) == freeze(network, "all") == sum(p.numel() for p in network.parameters())
    for wrong in (5, -1, "tail"):
        with pytest.raises(UsageError):
            freeze(network, wrong)  # type: ignore[arg-type]


def test_fixed_parameters_never_train() -> None:
    network = build_model("speednet", classes=4, size=32)
    fixed = {id(p) for p in network.fixed()}
    freeze(network, "all")
    assert fixed
    assert all(p.requires_grad != (id(p) in fixed) for p in network.parameters())


def test_frozen_stages_stay_as_they_were() -> None:
    """Frozen batch norms keep their statistics, and frozen dropouts do nothing, in a training step."""
    network = build_model("vgg", classes=4, size=32)
    freeze(network, 1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    set_training(network)
    optimizer = torch.optim.SGD((p for p in network.parameters() if p.requires_grad), lr=0.1)
    network(torch.randn(4, 3, 32, 32)).logsumexp(1).sum().backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith(("dense.", "head.")) for name in changed)
    assert "dense.4.running_mean" in changed

    def frozen(x: Tensor) -> Tensor:
        for _, stage in network.stages()[:3]:
            x = stage(x)
        return x

    pictures = torch.randn(2, 3, 32, 32)
    assert torch.equal(frozen(pictures), frozen(pictures))


def test_the_first_convolution_of_speednet_soon_needs_no_gradient_of_its_input():
    network = build_model("speednet(width=0.25)", classes=3, size=32)
    freeze(network)
    assert list(network.resting(0.1)) == []
    assert network.whiten(torch.zeros(1, 3, 32, 32)).requires_grad
    for parameter in network.resting(0.5):
        parameter.requires_grad_(False)
    assert not network.whiten(torch.zeros(1, 3, 32, 32)).requires_grad
    assert network(torch.zeros(1, 3, 32, 32)).requires_grad
