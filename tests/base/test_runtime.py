"""The machine as a run uses it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from shoebox.base.runtime import memory_kept

PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PROGRAM = """
import os, resource
from shoebox.base.runtime import ask_for_large_pages
if {asked}: ask_for_large_pages()
import torch
torch.ones(16 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.ones(16 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not PAGES.exists() or "[madvise]" not in PAGES.read_text(), reason="the kernel offers none")
def test_large_tensors_come_in_large_pages() -> None:
    """Eight tensors of 64 MiB, one after the other: otherwise each takes 16,384 pages."""

    def faults(asked: bool) -> int:
        command = [sys.executable, "-c", PROGRAM.format(asked=asked)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults(True) < faults(False) / 4


def test_memory_kept_ends_with_its_block_and_nothing_else_changes() -> None:
    def total() -> float:
        return float(sum(torch.ones(1 << 22).sum() for _ in range(4)))

    with memory_kept(), pytest.raises(ZeroDivisionError):
        assert total() == 4 << 22
        with memory_kept():
            raise ZeroDivisionError
    assert total() == 4 << 22
