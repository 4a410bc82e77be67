"""A run killed with signal 9 at any moment and resumed ends with the weights of one never stopped, byte for byte."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

OPTIONS = ["--model", "simple(width=8)", "--quiet", "--resume", "--set", "size=16", "--set"]
OPTIONS += ["batch_size=8", "--set", "augment=[flip, translate(pixels=1), mixup]", "--set", "tensorboard=false"]
OPTIONS += ["--set", "ema=0.9", "--set", "precision=fp32"]


# Two threads beside those of another test wait for each other.
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(data, run, epochs):
    return [sys.executable, "-m", "shoebox", "train", str(data), "--run", str(run), "--epochs", str(epochs), *OPTIONS]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("kill") / "data"
    draw = np.random.default_rng(0)
    for name, tint in (("cat", 180), ("dog", 70)):
        (root / name).mkdir(parents=True)
        for number in range(150):
            Image.fromarray(draw.normal(tint, 60, (16, 16, 3)).clip(0, 255).astype(np.uint8)).save(
                root / name / f"{number}.png"
            )
    return root


def kill_and_resume(data, folder, times, epochs, environment=None):
    start = time.monotonic()
    subprocess.run(command(data, folder / "whole", epochs), check=True, capture_output=True, env=environment)
    whole = time.monotonic() - start
    draw = random.Random(0)
    kills = finished = 0
    while kills < times:
        process = subprocess.Popen(command(data, folder / "killed", epochs), stderr=subprocess.PIPE, env=environment)
        time.sleep(draw.uniform(0.2, 1.0) * whole)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
        if process.returncode == 0:
            (folder / "killed").rename(folder / f"finished-{finished}")
            finished += 1
    done = subprocess.run(command(data, folder / "killed", epochs), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    expected = (folder / "whole" / "model.safetensors").read_bytes()
    for run in [folder / "killed", *folder.glob("finished-*")]:
        assert (run / "model.safetensors").read_bytes() == expected, run


def test_killed_once(data, tmp_path):
    kill_and_resume(data, tmp_path, 1, epochs=6, environment=ONE_THREAD)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_twenty_random_moments(data, tmp_path):
    kill_and_resume(data, tmp_path, 20, epochs=40)
