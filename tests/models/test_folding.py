import copy

import pytest
import torch
from torch import nn

from shoebox.models import build_model
from shoebox.models.folding import fold


def unsettle(network):
    """Batch norms with statistics that matter: random weights have none."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)


@pytest.mark.parametrize(
    ("spec", "left"),
    [
        ("timm:resnet10t", 0),
        ("timm:mobilenetv3_small_050", 0),
        ("torchvision:mobilenet_v2", 0),
        ("simple", 0),
        ("vgg", 6),
        ("speednet", 0),
    ],
)
def test_a_folded_network_computes_the_same_without_batch_norms(spec, left):
    torch.manual_seed(0)
    network = build_model(spec, classes=3, size=64)
    unsettle(network)
    sample = torch.randn(2, 3, 64, 64)
    before = copy.deepcopy(network.state_dict())
    folded = fold(network, sample)
    assert network.training and not folded.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    network.eval()
    with torch.no_grad():
        torch.testing.assert_close(folded(sample), network(sample), rtol=1e-4, atol=1e-5)
        many = torch.randn(64, 3, 64, 64)  # enough for the compiled arithmetic
        torch.testing.assert_close(folded(many), network(many), rtol=1e-3, atol=1e-4)
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert norms == left


class Doubly(nn.Module):
    """A convolution whose output somebody else reads as well."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return (self.norm(y) + y).mean((2, 3))


def test_what_folding_would_change_stays_as_it_is():
    from shoebox.models import Pretrained

    network = Pretrained(Doubly(), nn.Linear(4, 2), "timm:none", "")
    unsettle(network)
    folded = fold(network, torch.randn(2, 3, 8, 8))
    assert isinstance(folded.body.norm, nn.BatchNorm2d)
