"""Minutes: what `train --minutes` makes of the time it is given, from a cold process and a cold cache.

    MINUTES="1 5 20" SEEDS="0 1 2" RECIPE=fast python -m benchmarks --data cifar10/ minutes

For each number of minutes and each seed: seconds taken in all, accuracy (of the test part, or where there is none of
the validation part), the network chosen, and the most memory of the process.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil


def measure(data: str) -> dict[str, Any]:
    """A row for each."""
    rows = []
    minutes, seeds = os.environ.get("MINUTES", "1 5 20").split(), os.environ.get("SEEDS", "0").split()
    for given in minutes:
        for seed in seeds:
            rows.append(train(data, float(given), int(seed)))
            print(json.dumps(rows[-1]), flush=True)
    return {"case": f"{Path(data).name}-{'-'.join(minutes)}", "rows": rows}


def train(data: str, minutes: float, seed: int) -> dict[str, Any]:
    """One run and its figures."""
    recipe = os.environ.get("RECIPE", "fast")
    with tempfile.TemporaryDirectory(prefix="shoebox-bench-") as folder:
        command = [sys.executable, "-m", "shoebox", "train", data, "--recipe", recipe, "--minutes", str(minutes)]
        command += ["--seed", str(seed), "--run", f"{folder}/run", "--cache", f"{folder}/cache", "--quiet", "--json"]
        start, peak, out = time.monotonic(), 0, Path(folder) / "out"
        with out.open("w") as told:
            process = psutil.Popen(command, stdout=told)
            while process.poll() is None:
                peak = max(peak, process.memory_info().rss)
                time.sleep(0.2)
        seconds = time.monotonic() - start
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} failed")
        result = json.loads(out.read_text())
    part = "test" if result.get("test") else "val"
    return {
        "minutes": minutes,
        "seed": seed,
        "seconds": seconds,
        "part": part,
        "accuracy": result[part]["accuracy"],
        "model": result["model"],
        "epochs": result["epochs"],
        "peak_gib": peak / 2**30,
    }
