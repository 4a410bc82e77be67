"""Start-up: the time of whole commands from a cold process, seconds.

Of `shoebox train` it is the time until its first step is reached, and until that is done, on pictures that an earlier
run has packed.
"""

import itertools
import statistics
import subprocess
import sys
import tempfile
import time

COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "import shoebox": [sys.executable, "-c", "import shoebox"],
    "shoebox --help": [sys.executable, "-m", "shoebox", "--help"],
    "import torch": [sys.executable, "-c", "import torch"],
}
PACKED = "train --epochs 10, first step"
TRAIN = {PACKED: ["--epochs", "10"], "train --minutes 10, first step": ["--minutes", "10"]}
REACHED = " reached"
FIRST_STEP = """
import os, sys, time
from shoebox.base.runtime import ask_for_large_pages, collect_rarely
ask_for_large_pages()
collect_rarely()
from shoebox.cli import main
from shoebox.training import loop
step = loop.update
def once(*given):
    print(time.time(), flush=True)
    step(*given)
    os._exit(7)
loop.update = once
main()
"""
"""`shoebox`, ended by its first step, whose beginning it prints; it imports torch before the command does, so it makes
ready as that would."""


def measure(data: str, rounds: int = 7) -> dict[str, dict[str, float]]:
    """The median and the least seconds of each command, the commands in turn."""
    with tempfile.TemporaryDirectory(prefix="shoebox-bench-") as folder:
        start = [sys.executable, "-c", FIRST_STEP, "train", data, "--recipe", "fast", "--cache", f"{folder}/cache"]
        runs = (f"{folder}/{number}" for number in itertools.count())
        _seconds([*start, *TRAIN[PACKED], "--quiet", "--run", next(runs)], code=7)
        names = [*COMMANDS, *(f"{name}{when}" for name in TRAIN for when in (REACHED, ""))]
        seconds: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds):
            for name, command in COMMANDS.items():
                seconds[name].append(_seconds(command)[0])
            for name, words in TRAIN.items():
                since = time.time()
                whole, printed = _seconds([*start, *words, "--quiet", "--run", next(runs)], code=7)
                seconds[name].append(whole)
                seconds[name + REACHED].append(float(printed) - since)
    return {name: {"median": statistics.median(s), "least": min(s)} for name, s in seconds.items()}


def _seconds(command: list[str], code: int = 0) -> tuple[float, str]:
    """How long a command takes, and what it prints."""
    start = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode != code:
        raise RuntimeError(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
    return time.perf_counter() - start, ended.stdout
