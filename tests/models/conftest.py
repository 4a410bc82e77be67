"""The contract every network keeps, for the tests of networks from scratch and of backbones."""

from collections.abc import Callable, Iterator

import pytest
import torch

from shoebox.models import Network


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny batches on busy cores: a second thread waits for the first many times longer than it helps."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def check_contract() -> Callable[[Network, int, int], None]:
    return _check_contract


def _check_contract(network: Network, classes: int, size: int) -> None:
    """Features, head and forward agree; stages hold every other parameter once; evaluation is a pure function."""
    pictures = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    network.train()
    network(pictures).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None or not parameter.requires_grad, name
    network.eval()
    with torch.no_grad():
        features = network.features(pictures)
        logits = network(pictures)
        assert features.ndim == 2 and len(features) == 2
        assert logits.shape == (2, classes) and logits.isfinite().all()
        assert torch.equal(network.head(features), logits)
        assert torch.equal(network(pictures), logits)
        torch.testing.assert_close(network(pictures[:1]), logits[:1], rtol=1e-3, atol=1e-4)
    _check_stages(network)


def _check_stages(network: Network) -> None:
    stages = network.stages()
    assert len(stages) >= 3
    assert len({name for name, _ in stages}) == len(stages)
    staged = [id(p) for _, stage in stages for p in stage.parameters()]
    head = [id(p) for p in network.head.parameters()]
    assert sorted(staged + head) == sorted(id(p) for p in network.parameters())
    assert all(next(stage.parameters(), None) is not None for _, stage in stages)
