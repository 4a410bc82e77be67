import numpy as np
import pytest
import torch
from torch import nn

from shoebox.base.errors import UsageError
from shoebox.models import build_model
from shoebox.models.network import freeze
from shoebox.training import optimizer
from shoebox.training.optimizer import (
    OPTIMIZERS,
    SCHEDULES,
    Muon,
    build_optimizer,
    build_schedule,
    orthogonalise,
)


@pytest.mark.parametrize("shape", [(3, 8, 40), (2, 40, 8), (1, 16, 16)])
def test_orthogonalise_brings_singular_values_near_one(shape):
    scales = torch.tensor([1e-3, 1.0, 1e3])[: shape[0], None, None]  # each by itself
    matrices = scales * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices, steps=5))
    assert values.max() < 1.3
    assert values.min() > 0.3


def test_orthogonalise_of_nothing_is_nothing():
    assert torch.equal(orthogonalise(torch.zeros(2, 4, 6)), torch.zeros(2, 4, 6))


@pytest.mark.parametrize("together", [[[0], [1], [2], [3]], [[0, 2], [1], [3]]], ids=["each", "as on a GPU"])
def test_muon_moves_each_filter_bank_by_its_own_orthogonalised_momentum(monkeypatch, together):
    monkeypatch.setattr(optimizer, "_together", lambda matrices: together)
    torch.manual_seed(0)
    # Two of one shape between others, and one whose matrix is tall.
    shapes = [(16, 8, 3, 3), (8, 4, 3, 3), (16, 8, 3, 3), (64, 4, 2, 2)]
    banks = [nn.Parameter(torch.randn(shape).contiguous(memory_format=torch.channels_last)) for shape in shapes]
    matrices = [bank.detach().flatten(1) for bank in banks]
    momenta = [torch.zeros_like(matrix) for matrix in matrices]
    muon = Muon([{"lr": 0.1, "momentum": 0.6, "kind": "orthogonal", "params": banks}])
    for _ in range(3):
        for i, bank in enumerate(banks):
            gradient = torch.randn(len(bank), bank[0].numel())
            bank.grad = gradient.view(bank.shape).contiguous(memory_format=torch.channels_last)
            momenta[i] = 0.6 * momenta[i] + gradient
            x = gradient + 0.6 * momenta[i]
            x = x / x.norm()
            for _ in range(3):
                x = 3.4445 * x + (-4.7750 * x @ x.T + 2.0315 * x @ x.T @ x @ x.T) @ x
            matrices[i] = matrices[i] * len(bank) ** 0.5 / matrices[i].norm() - 0.1 * x
        muon.step()
    for bank, matrix in zip(banks, matrices, strict=True):
        assert torch.allclose(bank.flatten(1), matrix, atol=1e-4)


def test_the_adam_of_muon_is_adamw():
    torch.manual_seed(0)
    ours, theirs = ([nn.Parameter(torch.ones(size)) for size in (3, 5, 5)] for _ in range(2))
    muon = Muon([{"params": ours, "lr": 0.01, "weight_decay": 0.1}])
    adamw = torch.optim.AdamW(theirs, lr=0.01, betas=(0.85, 0.95), eps=1e-8, weight_decay=0.1)
    for i in range(4):
        for first, second in zip(ours, theirs, strict=True):
            first.grad = second.grad = torch.randn(len(first))
        ours[0].grad = theirs[0].grad = None if i < 2 else ours[0].grad  # one that begins later
        muon.step()
        adamw.step()
    for first, second in zip(ours, theirs, strict=True):
        assert torch.allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(name):
    torch.manual_seed(0)
    network = build_model("speednet(width=0.25)", classes=2, size=16)
    pictures, labels = torch.randn(16, 3, 16, 16), torch.arange(16) % 2
    optimizer = build_optimizer(name, network, None, 0.0)
    losses = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(network(pictures), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_frozen_parameters_are_left_out(name):
    network = build_model("simple", classes=3, size=16)
    freeze(network, "head")
    optimizer = build_optimizer(name, network, 0.1, 0.0)
    assert {id(p) for g in optimizer.param_groups for p in g["params"]} == {id(p) for p in network.head.parameters()}


def test_nothing_to_train_is_refused():
    network = build_model("simple", classes=3, size=16)
    network.requires_grad_(False)
    with pytest.raises(UsageError, match="nothing in this network trains"):
        build_optimizer("sgd", network, None, None)


def test_the_head_may_have_a_rate_of_its_own():
    network = build_model("simple", classes=3, size=16)
    optimizer = build_optimizer("adamw(head=10)", network, 0.01, 0.1)
    rates = {id(p): (g["peak"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    weight, bias = network.head.parameters()
    assert rates[id(weight)] == (pytest.approx(0.1), 0.1)
    assert rates[id(bias)] == (pytest.approx(0.1), 0.0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_stays_between_nothing_and_the_peak(name):
    rates = [build_schedule(name, warmup=0.1)(x) for x in np.linspace(0, 1, 101)]
    assert rates[0] == 0
    assert min(rates) >= 0
    assert max(rates) <= 1


def test_shapes_of_the_schedules():
    assert build_schedule("linear", 0)(0.25) == 0.75
    assert build_schedule("linear", 0)(1) == 0
    assert build_schedule("cosine", 0)(0.5) == pytest.approx(0.5)
    assert build_schedule("onecycle", 0)(0.25) == pytest.approx(1)
    assert build_schedule("step(at=(0.5,), factor=0.5)", 0)(0.6) == 0.5
    assert build_schedule("constant", 0.5)(0.25) == 0.5


def test_muon_moves_what_shifts_channels_by_gradient_descent():
    network = build_model("speednet(width=0.25)", classes=2, size=16)
    optimizer = build_optimizer("muon(offsets=1000)", network, 0.1, 0.0)
    (group,) = (g for g in optimizer.param_groups if g["kind"] == "plain")
    assert {id(p) for p in group["params"]} == {id(p) for p in network.offsets()}
    assert group["peak"] == pytest.approx(10)
    bias = network.whiten.bias
    bias.grad = torch.full_like(bias, 0.01)
    optimizer.step()
    optimizer.step()
    # Nesterov's momentum, by hand: 0.01 · 10 · (1 + 0.85), then with what the first step left of it.
    first, second = 0.01 * (1 + 0.85), 0.01 * (1 + 0.85 * (1 + 0.85))
    assert torch.allclose(bias, torch.full_like(bias, -10 * (first + second)))


def test_muon_takes_a_network_without_offsets():
    optimizer = build_optimizer("muon", build_model("simple", classes=2, size=16), 0.1, 0.0)
    assert {g["kind"] for g in optimizer.param_groups} == {"orthogonal", "adam"}
