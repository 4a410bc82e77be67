"""Start-up: the time of whole commands from a cold process, seconds."""

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "import shoebox": [sys.executable, "-c", "import shoebox"],
    "shoebox --help": [sys.executable, "-m", "shoebox", "--help"],
    "import torch": [sys.executable, "-c", "import torch"],
}


def measure(data: str, rounds: int = 7) -> dict[str, dict[str, float]]:
    """The median and the least seconds of each command, the commands in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
    return {name: {"median": statistics.median(s), "least": min(s)} for name, s in seconds.items()}
