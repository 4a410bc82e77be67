"""What a step of training and of scoring tells, and what a network costs."""

import subprocess
import sys

import numpy as np
import pytest

from shoebox.base.runtime import Runtime
from shoebox.training import pace
from shoebox.training.pace import Kind, Pace

CPU = Runtime("cpu", "fp32", "")


@pytest.mark.parametrize("side", [20, 32])
def test_the_rate_is_measured(packed_plan, side):
    made, packed = packed_plan
    assert 0 < pace.training_rate(made, packed, CPU, Kind(0.25), side) < np.inf


def test_looks_are_measured(packed_plan):
    made, packed = packed_plan
    assert 0 < pace.looking_rate(made, packed, CPU, Kind(0.25)) < np.inf


def test_a_wider_or_deeper_network_costs_more_and_larger_pictures_do():
    small = pace.cost(Kind(0.5), 10, 32)
    assert pace.cost(Kind(1.0), 10, 32) > pace.cost(Kind(0.5, depth=3), 10, 32) > small
    assert pace.cost(Kind(0.5), 10, 64) > small


def test_another_s_pace_is_in_proportion():
    assert Pace(100.0, 1.5, 400.0).at(50.0) == Pace(50.0, 1.5, 200.0)


def test_which_speednet_is_said_as_a_model():
    assert Kind(0.75).spec() == "speednet(width=0.75)"
    assert Kind(0.875, 3).spec(members=2) == "speednet(width=0.875, depth=3, members=2)"


def test_nothing_before_the_first_step_imports_torch_s_compiler():
    """It takes a second, in every start."""
    code = """
import sys
import torch
from shoebox.models import build_model
from shoebox.models.summary import summary
from shoebox.training.pace import Kind, cost
from shoebox.training.optimizer import build_optimizer

assert cost(Kind(0.25), 2, 16) > 100_000
assert "sympy" not in sys.modules
network = build_model("speednet(width=0.25)", classes=2, size=16)
assert summary(network, 16).parameters > 10_000
optimizer = build_optimizer("muon", network, None, None)
network(torch.randn(2, 3, 16, 16)).sum().backward()
optimizer.step()
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
