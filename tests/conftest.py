"""Small pictures and folders of them, a run that has learnt nothing, and a cache that is not the person's own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shoebox.classifier import Classifier
from shoebox.data.pack import pack
from shoebox.data.preprocess import Preprocess
from shoebox.data.sources import open_source
from shoebox.data.split import split, write_split
from shoebox.deploy import fastest
from shoebox.deploy.export import export
from shoebox.models import build_model

# Tests are many small jobs: on a busy machine, two threads that wait for each other are slower than one.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole commands first: they are the longest, and with two workers the last test should be a short one."""
    items.sort(key=lambda item: not item.path.match("test_docs.py") and not item.path.match("test_kill.py"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # What is on the person's disk, or a server away, must not decide what a test trains.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))


# Each command in a process of its own, forked from one that has imported what all of them need.
FORKING = """
import json, os, sys
import cleanlab, pandas, shoebox.deploy.report, shoebox.training.train, sklearn.linear_model, sklearn.manifold
import torch._dynamo, torch.utils.tensorboard
from shoebox.cli import main
for line in sys.stdin:
    sys.argv, folder, environment, *files = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(folder)
        os.environ.clear(), os.environ.update(environment)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in enumerate(files, 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        code = 0
        try:
            main()
        except SystemExit as e:
            code = e.code or 0
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="session")
def run_command(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[list[str], Path], subprocess.CompletedProcess[str]]]:
    """run_command(["shoebox", …], folder): runs a command there; gives its exit code, stdout and stderr."""
    place = tmp_path_factory.mktemp("said")
    files = [place / "stdout", place / "stderr"]
    # What is read once, on import.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(place)}
    with subprocess.Popen(
        [sys.executable, "-c", FORKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as forking:
        asked, answers = forking.stdin, forking.stdout
        assert asked
        assert answers

        def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
            asked.write(json.dumps([words, str(folder), dict(os.environ), *map(str, files)]) + "\n")
            asked.flush()
            code = int(answers.readline())
            said = [file.read_text(encoding="utf-8", errors="surrogateescape") for file in files]
            return subprocess.CompletedProcess(words, code, *said)

        yield run
        asked.close()


@pytest.fixture
def make_picture() -> Callable[..., Path]:
    """make_picture(path, size=(20, 16), seed=0): a noisy picture of (width, height) in the format of its extension."""

    def make(path: Path, size: tuple[int, int] = (20, 16), seed: int = 0) -> Path:
        width, height = size
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    return make


@pytest.fixture
def make_folder(make_picture: Callable[..., Path]) -> Callable[..., Path]:
    """make_folder(root, {"cat": 5, "train/dog": 4}, size=(20, 16)): pictures 0.png, 1.png, … in each; returns root.

    Every picture of a class has a tint of its own on top of noise, so that a network can tell the classes apart.
    """

    def make(root: Path, counts: Mapping[str, int], size: tuple[int, int] = (20, 16)) -> Path:
        width, height = size
        names = sorted({folder.rpartition("/")[2] for folder in counts})
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            tint = np.random.default_rng(names.index(folder.rpartition("/")[2])).integers(0, 200, 3)
            for i in range(count):
                noise = np.random.default_rng(i).integers(0, 56, (height, width, 3))
                Image.fromarray((tint + noise).astype(np.uint8)).save(root / folder / f"{i}.png")
        return root

    return make


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run's folder, whose network stores 24 px and sees 16, and the folder of its 90 pictures of three classes."""
    root = tmp_path_factory.mktemp("deploy")
    data, run = root / "data", root / "run"
    draw = np.random.default_rng(0)
    for name, tint in (("cat", (180, 80, 80)), ("dog", (80, 80, 180)), ("owl", (80, 180, 80))):
        (data / name).mkdir(parents=True)
        for number in range(30):
            pixels = draw.normal(tint, 40, (*draw.integers(20, 60, 2), 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(data / name / f"{name}-{number}.jpg")
    torch.manual_seed(0)
    model = "speednet(width=0.25, blocks=2)"
    network = build_model(model, classes=3, size=16)
    with torch.no_grad():
        network.head.weight *= 30  # answers that are not all one third
    preprocess = Preprocess(store=24, size=16)
    classifier = Classifier(model, network, ("cat", "dog", "owl"), preprocess, device="cpu")
    classifier.save(run)
    index = split(open_source(data), validation=0.4)
    packed = pack(index, preprocess, cache=root / "cache")
    write_split(packed.index, run / "split.csv")
    rows = np.flatnonzero(packed.index.part == "val")
    classifier.score(packed, rows, "val").save(run / "val.npz")
    (run / "run.json").write_text(json.dumps({"root": str(data)}))
    return run, data


@pytest.fixture(scope="session")
def exported(trained: tuple[Path, Path]) -> Path:
    """The run exported as ONNX, and what was measured then remembered: the export's folder, in the run's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastest, "ROUNDS", 1)
        patch.setattr(fastest, "LEAST_SECONDS", 0.01)
        export(trained[0], "onnx")
    return trained[0] / "exports" / "onnx"
