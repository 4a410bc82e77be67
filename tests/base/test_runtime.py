"""The machine as a run uses it."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from shoebox.base import arithmetic, runtime, winograd
from shoebox.base.runtime import Runtime, choose_runtime, memory_kept
from shoebox.base.winograd import halves_wanted

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


def test_the_command_looks_for_garbage_rarely() -> None:
    asked = """
import gc, sys
from shoebox import cli
sys.argv = ["shoebox", "--help"]
try: cli.main()
except SystemExit: pass
sys.exit(gc.get_threshold()[0] != 50_000)
"""
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True)
    assert done.returncode == 0, done.stderr


def test_nothing_is_looked_through_as_the_process_ends_and_what_is_due_then_is_done() -> None:
    ending = """
import atexit
from shoebox.base.runtime import collect_rarely
collect_rarely()
atexit.register(print, "done")
class Circle:
    def __init__(self): self.self = self
    def __del__(self): print("collected")
Circle()
"""
    done = subprocess.run([sys.executable, "-c", ending], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["done"]


def test_memory_kept_ends_with_its_block_and_nothing_else_changes() -> None:
    def total() -> float:
        return float(sum(torch.ones(1 << 22).sum() for _ in range(4)))

    with memory_kept(), pytest.raises(ZeroDivisionError):
        assert total() == 4 << 22
        with memory_kept():
            raise ZeroDivisionError
    assert total() == 4 << 22


@pytest.mark.parametrize(("lanes", "halves"), [(32, "fp16"), (16, "bf16")])
def test_the_faster_arithmetic_is_chosen_and_halves_only_for_networks_made_for_them(monkeypatch, lanes, halves) -> None:
    monkeypatch.setattr(arithmetic, "lanes", lambda halves=False: lanes)
    chosen = {}
    for bf16, half in ((0.4, 1.6), (2.5, 1.6), (2.0, 2.4), (1.2, 1.05), (0.4, 0.9)):
        monkeypatch.setattr(runtime, "bf16_gain", lambda gain=bf16: gain)
        monkeypatch.setattr(runtime, "half_gain", lambda gain=half: gain)
        found = [choose_runtime("cpu", halves=made_for_it) for made_for_it in (True, False)]
        chosen[bf16, half] = [(one.precision, one.halves) for one in found]
    assert chosen == {
        (0.4, 1.6): [(halves, True), ("fp32", False)],
        (2.5, 1.6): [("bf16", False), ("bf16", False)],
        (2.0, 2.4): [(halves, True), ("bf16", False)],
        (1.2, 1.05): [("fp32", False), ("fp32", False)],
        (0.4, 0.9): [("fp32", False), ("fp32", False)],
    }


def test_bf16_that_must_be_imitated_is_not_measured(monkeypatch) -> None:
    monkeypatch.setattr(runtime, "_gain", lambda *_: 1.5)
    gains = {}
    for capability in ("AVX2", "AVX512", "DEFAULT"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda found=capability: found)
        gains[capability] = runtime.bf16_gain.__wrapped__()
    assert gains == {"AVX2": 0.0, "AVX512": 1.5, "DEFAULT": 1.5}
    monkeypatch.setattr(runtime, "bf16_gain", lambda: 0.0)
    assert choose_runtime("cpu").reason.endswith("in fp32 (this processor has no bf16)")


def test_what_is_slow_only_once_is_no_slower(monkeypatch) -> None:
    """The first convolution of a type builds its kernel."""
    clock, calls = [0.0], {torch.float32: 0, torch.bfloat16: 0}

    def convolve(x: torch.Tensor, weight: torch.Tensor) -> None:
        calls[x.dtype] += 1
        clock[0] += 2.0 if x.dtype == torch.float32 else 100.0 if calls[x.dtype] == 1 else 1.0

    monkeypatch.setattr(winograd, "convolve", convolve)
    monkeypatch.setattr(runtime, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    assert runtime._gain("bfloat16", "bfloat16") == 2.0


@pytest.mark.skipif(not arithmetic.half_type(), reason="this processor multiplies no 16 bits")
def test_16_bits_are_measured_and_end_with_their_block() -> None:
    assert 0.2 < runtime.half_gain() < 20
    precision = arithmetic.half_type()
    assert precision is not None
    asked = choose_runtime("cpu", precision, halves=True)
    assert asked.precision == precision and asked.halves and not choose_runtime("cpu", precision).halves
    assert not choose_runtime("cpu", "fp16" if precision == "bf16" else "bf16", halves=True).halves
    with asked.autocast():
        assert halves_wanted() and not torch.is_autocast_enabled("cpu")
    assert not halves_wanted()
    with Runtime("cpu", "fp32", "", halves=True).autocast():
        assert not halves_wanted()
