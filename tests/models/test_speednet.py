"""speednet's maps, and the weights of runs before it had a border."""

from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional as F

from shoebox.base import arithmetic
from shoebox.base.errors import UsageError
from shoebox.base.winograd import half_products
from shoebox.models import build_model


@pytest.mark.parametrize(("size", "sides"), [(32, [16, 8, 4]), (64, [32, 16, 8, 4]), (128, [32, 16, 8, 4])])
def test_every_map_is_of_whole_squares(size, sides):
    network = build_model("speednet(width=0.25)", classes=3, size=size).eval()
    seen = []
    for block in network.blocks:
        block.register_forward_hook(lambda module, given, output: seen.append(output.shape[2:]))
    with torch.no_grad():
        network(torch.randn(1, 3, size, size))
    assert seen == [(side, side) for side in sides]


def test_a_third_convolution_is_bridged_with_the_second(check_contract):
    network = build_model("speednet(width=0.25, depth=3)", classes=3, size=32)
    check_contract(network, 3, 32)
    block = network.blocks[0].eval()
    seen = []
    block.conv2.register_forward_hook(lambda module, given, output: seen.append(given[0]))
    with torch.no_grad():
        block.norm3.weight.zero_()
        output = block(torch.randn(2, network.whiten.out_channels, 8, 8))
    assert torch.equal(output, seen[0])
    kept = {id(p) for p in network.fixed()} | {id(p) for p in network.offsets()}
    assert {id(p) for name, p in network.named_parameters() if "norm" in name or "whiten" in name} == kept


@pytest.mark.parametrize("options", ["depth=1", "depth=4", "width=0"])
def test_an_option_out_of_its_range_is_named(options):
    with pytest.raises(UsageError, match=options):
        build_model(f"speednet({options})", classes=2, size=32)


def test_a_picture_of_any_side_passes_through():
    network = build_model("speednet(width=0.25)", classes=3, size=32).eval()
    with torch.no_grad():
        assert all(network(torch.randn(2, 3, side, side)).shape == (2, 3) for side in (16, 17, 24, 31, 40))


def test_weights_without_a_border_answer_as_they_did():
    torch.manual_seed(0)
    network = build_model("speednet(width=0.25)", classes=3, size=32).eval()
    pictures = torch.randn(2, 3, 32, 32)
    network.edge = 0
    with torch.no_grad():
        before = network(pictures)
    weights = {name: tensor for name, tensor in network.state_dict().items() if name != "border"}
    again = build_model("speednet(width=0.25)", classes=3, size=32).eval()
    again.load_state_dict(weights)
    twin = build_model("speednet(width=0.25)", classes=3, size=32).eval()
    twin.load_state_dict(again.state_dict())
    with torch.no_grad():
        assert torch.equal(again(pictures), before)
        assert torch.equal(twin(pictures), before)
    assert "border" not in weights


@pytest.mark.skipif(arithmetic.lanes(halves=True) == 0, reason="this processor multiplies no 16 bits")
@pytest.mark.parametrize("count", [4, 128], ids=["too few for compiled convolutions", "enough"])
def test_it_learns_in_16_bits_as_in_32(count):
    """The same step: a loss and gradients that are near, and float32 logits and weights."""
    torch.manual_seed(0)
    network = build_model("speednet(width=0.5)", classes=5, size=32).train()
    pictures, labels = torch.randn(count, 3, 32, 32), torch.arange(count) % 5
    network.prepare(pictures)
    losses, gradients = [], []
    for context in (nullcontext(), half_products()):
        network.zero_grad()
        with context:
            logits = network(pictures)
        assert logits.dtype == torch.float32
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert losses[0] == pytest.approx(losses[1], abs=0.01)
    assert float(F.cosine_similarity(*gradients, dim=0)) > 0.95
    assert gradients[1].dtype == torch.float32
