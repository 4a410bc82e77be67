"""Where the compiled arithmetic is missing or not wanted, torch computes everything."""

import os
import subprocess
import sys

import pytest

from shoebox.base import arithmetic

PROGRAM = """
import torch
from shoebox.base.arithmetic import library
from shoebox.base.winograd import convolve, pays
x, weight = torch.ones(64, 32, 8, 8), torch.ones(32, 32, 3, 3)
assert convolve(x, weight, pooled=True).shape == (64, 32, 4, 4)
print(library() is not None, pays(x, weight))
"""


@pytest.mark.parametrize(("asked", "there"), [("torch", False), ("", True)])
def test_it_may_be_left_out(asked, there):
    environment = {**os.environ, "SHOEBOX_ARITHMETIC": asked}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    there = there and arithmetic.library() is not None
    assert done.stdout.split() == [str(there), str(there)]


def test_each_thread_keeps_its_own_room():
    first = arithmetic.scratch(100)
    assert arithmetic.scratch(50).data_ptr() == first.data_ptr()
    assert len(arithmetic.scratch(len(first) + 1)) > len(first)
