"""Peers: training from scratch in the same minutes on the same pictures, Shoebox and each peer in turn, from the start.

    MINUTES=10 SIDE=32 PEERS="plain_torch fastai_peer" SEED=0 python -m benchmarks --data cifar10/ peers

The scripts are those of `bench/peers` in the folder named by the environment's BESIDE (by default `../shared`). Each
peer has an environment of its own in `~/.cache/shoebox-bench`, made when first needed, over this project's torch.
Scripts that are told epochs, not minutes, are first run for one epoch, then for as many as the minutes hold.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.minutes import train

ROOT = Path(__file__).parent.parent
HOME = Path.home() / ".cache" / "shoebox-bench"
PEERS = {
    "plain_torch": ("torchvision ResNet-18, ImageFolder, Adam", ["torchvision"]),
    "fastai_peer": ("fastai xresnet18, one cycle", ["fastai"]),
    "ultralytics_peer": ("Ultralytics yolo11n-cls", ["ultralytics"]),
    "hf_peer": ("Hugging Face Trainer, ResNet", ["transformers", "datasets", "accelerate", "torchvision"]),
}
TIMED = {"plain_torch"}
"""Scripts that end by the clock."""
ACCURACY = re.compile(r"(?:accuracy|eval_accuracy|top1|acc)\W*\s*([01]\.\d+)")


def measure(data: str) -> dict[str, Any]:
    """Accuracy and seconds of each, and how many points Shoebox is ahead."""
    minutes, side = float(os.environ.get("MINUTES", 10)), os.environ.get("SIDE", "32")
    scripts = Path(os.environ.get("BESIDE", ROOT.parent / "shared")) / "bench" / "peers"
    if not Path(data).is_dir() or not scripts.is_dir():
        return {"skipped": "needs --data with a folder of pictures, and the peers' scripts"}
    rows = {"shoebox": train(data, minutes, int(os.environ.get("SEED", "0")))}
    print(json.dumps(rows), flush=True)
    for name in os.environ.get("PEERS", " ".join(PEERS)).split():
        rows[name] = theirs(scripts / f"{name}.py", data, minutes, side)
        print(json.dumps({name: rows[name]}), flush=True)
    ahead = {n: 100 * (rows["shoebox"]["accuracy"] - r["accuracy"]) for n, r in rows.items() if n != "shoebox"}
    return {"case": f"{Path(data).name}-{minutes:g}", "minutes": minutes, "trainers": rows, "points_ahead": ahead}


def theirs(script: Path, data: str, minutes: float, side: str) -> dict[str, Any]:
    """A peer's script, for as long."""
    python = environment(script.stem)
    if script.stem in TIMED:
        return asked(python, script, [data, "999", side], limit=60 * minutes)
    once = asked(python, script, [data, "1", side])
    epochs = max(1, round(60 * minutes / once["seconds"]))
    return {**(once if epochs == 1 else asked(python, script, [data, str(epochs), side])), "epochs": epochs}


def asked(python: Path, script: Path, words: list[str], limit: float = 1e9) -> dict[str, Any]:
    """Run it; the last accuracy that it prints, and its seconds."""
    start = time.monotonic()
    program = (
        "import runpy, sys; sys.path.insert(0, sys.argv[1]);"
        "from shoebox.base.torchvision import import_torchvision; import_torchvision();"
        "sys.argv = sys.argv[2:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    told = subprocess.run(
        [python, "-c", program, str(ROOT / "src"), str(script), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "LIMIT": str(limit)},
        cwd=tempfile.gettempdir(),
    )
    found = ACCURACY.findall(told.stdout)
    if told.returncode or not found:
        raise RuntimeError(f"{script.name} failed:\n{told.stderr[-2000:]}")
    return {"accuracy": float(found[-1]), "seconds": time.monotonic() - start}


def environment(name: str) -> Path:
    """The interpreter of a peer's own environment, over this one's packages so that all share one torch."""
    folder = HOME / name
    python = folder / "bin" / "python"
    if not python.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        query = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        site = Path(subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip())
        (site / "beneath.pth").write_text(sysconfig.get_path("purelib") + "\n")
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS[name][1]], check=True)
    return python
