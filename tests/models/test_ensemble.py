"""Several speednets in one network: whose turn it is, who answers, and that the answer is the mean of theirs."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from shoebox.base.errors import UsageError
from shoebox.models import Network, build_model, freeze, set_training
from shoebox.models.ensemble import Ensemble
from shoebox.models.folding import fold

SPEC = "speednet(width=0.25, members=3)"


@pytest.fixture
def network() -> Ensemble:
    torch.manual_seed(0)
    built = build_model(SPEC, classes=5, size=32)
    assert isinstance(built, Ensemble)
    return built


def test_it_keeps_the_contract(network: Ensemble, check_contract: Callable[[Network, int, int], None]) -> None:
    check_contract(network, 5, 32)


def test_the_answer_is_the_mean_of_the_members(network: Ensemble) -> None:
    pictures = torch.randn(4, 3, 32, 32)
    network.eval()
    with torch.no_grad():
        alone = [head(member(pictures)) for head, member in zip(network.head.members, network.members, strict=True)]
        assert not torch.allclose(alone[0], alone[1])
        torch.testing.assert_close(network(pictures), sum(alone) / 3)


@pytest.mark.parametrize(
    ("share", "trains", "answer", "own"),
    [(0.0, 0, [0], 0.0), (0.3, 0, [0], 0.9), (0.4, 1, [0], 0.2), (0.9, 2, [0, 1], 0.7), (1.0, 2, [0, 1, 2], 1.0)],
)
def test_members_train_in_turn_and_those_that_have_finished_answer(network, share, trains, answer, own) -> None:
    assert network.turn(share) == pytest.approx(own)
    assert network.member() == trains + 1
    set_training(network)
    network(torch.randn(4, 3, 32, 32)).sum().backward()
    moved = [any(p.grad is not None for p in member.parameters()) for member in network.members]
    heads = [any(p.grad is not None for p in head.parameters()) for head in network.head.members]
    assert moved == heads == [i == trains for i in range(3)]
    network.eval()
    assert list(network.head.answering) == answer
    assert network(torch.randn(4, 3, 32, 32)).shape == (4, 5)


def test_who_answers_is_saved_with_the_weights(network: Ensemble) -> None:
    network.eval()
    network.turn(0.7)
    pictures = torch.randn(2, 3, 32, 32)
    again = build_model(SPEC, classes=5, size=32).eval()
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(again(pictures), network(pictures))
    assert list(again.head.answering) == [0, 1]


def test_after_a_return_to_earlier_weights_whose_turn_it_is_is_asked_anew(network: Ensemble) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.turn(0.1)
    network.load_state_dict(before)
    network.turn(0.2)
    assert list(network.eval().head.answering) == [0]


def test_a_turn_leaves_what_is_frozen_in_evaluation_mode(network: Ensemble) -> None:
    freeze(network, 1)
    set_training(network)
    network.turn(0.5)
    assert [any(part.training for part in stage) for _, stage in network.stages()] == [False, False, False, True]


def test_what_the_last_one_gathered_is_no_step_of_the_next(network: Ensemble) -> None:
    network.turn(0.2)
    network(torch.randn(4, 3, 32, 32)).sum().backward()
    network.turn(0.3)
    assert any(p.grad is not None for p in network.parameters())
    network.turn(0.4)
    assert all(p.grad is None for p in network.parameters())


def test_batch_norms_of_all_members_are_folded(network: Ensemble) -> None:
    pictures = torch.randn(4, 3, 32, 32)
    network.train()
    network(pictures)
    folded = fold(network, pictures)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    with torch.no_grad():
        torch.testing.assert_close(folded(pictures), network.eval()(pictures), rtol=1e-3, atol=1e-4)


def test_each_is_fitted_rests_and_is_listed(network: Ensemble) -> None:
    network.prepare(torch.randn(16, 3, 32, 32))
    filters = [member.whiten.weight for member in network.members]
    assert torch.equal(filters[0], filters[2]) and filters[0].abs().max() > 0
    network.turn(0.5)
    assert [id(p) for p in network.resting(0.5)] == [id(network.members[1].whiten.bias)]
    assert len(list(network.fixed())) == 3 * len(list(network.members[0].fixed()))
    assert len(list(network.offsets())) == 3 * len(list(network.members[0].offsets()))
    assert [type(stage) for _, stage in network.stages()] == [nn.ModuleList] * 4
    assert network.each() == list(network.members)


def test_there_is_at_least_one() -> None:
    with pytest.raises(UsageError, match="members=0"):
        build_model("speednet(members=0)", classes=2, size=32)
    assert not isinstance(build_model("speednet(members=1)", classes=2, size=32), Ensemble)


def test_weights_of_one_network_are_refused_by_what_they_lack(network: Ensemble) -> None:
    alone = build_model("speednet(width=0.25)", classes=5, size=32)
    with pytest.raises(RuntimeError, match="Missing key"):
        network.load_state_dict(alone.state_dict())
