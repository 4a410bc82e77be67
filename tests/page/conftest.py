"""A run whose network has learnt nothing, its pictures, a folder to work on, and the application that serves them."""

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from shoebox.classifier import Classifier
from shoebox.data.pack import pack
from shoebox.data.preprocess import Preprocess
from shoebox.data.sources import open_source
from shoebox.data.split import split, write_split
from shoebox.models import build_model
from shoebox.page.mount import mount
from shoebox.serve.app import create_app
from shoebox.serve.service import Service
from shoebox.serve.settings import Settings

HOSTILE = "<img src=x onerror=alert(1)>"
CLASSES = (HOSTILE, "=cat", "dog")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run's folder and its 36 pictures of three classes, one of which is named to be run by a browser."""
    root = tmp_path_factory.mktemp("page")
    data, run = root / "pets", root / "run"
    draw = np.random.default_rng(0)
    from PIL import Image

    for name, tint in zip(CLASSES, ((200, 60, 60), (60, 60, 200), (60, 190, 60)), strict=True):
        (data / name).mkdir(parents=True)
        for number in range(12):
            pixels = draw.normal(tint, 30, (24, 32, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(data / name / f"{number}.jpg", quality=92)
    torch.manual_seed(0)
    model = "speednet(width=0.25, blocks=2)"
    network = build_model(model, classes=3, size=16)
    with torch.no_grad():
        network.head.weight *= 30  # answers that are not all one third
    preprocess = Preprocess(store=16, size=16)
    classifier = Classifier(model, network, CLASSES, preprocess, {"name": "pets <b>"}, "cpu")
    classifier.save(run)
    index = split(open_source(data).relabelled_to(CLASSES), validation=0.4, test=0)
    packed = pack(index, preprocess, cache=root / "cache")
    write_split(packed.index, run / "split.csv")
    classifier.score(packed, np.flatnonzero(packed.index.part == "val"), "val").save(run / "val.npz")
    (run / "run.json").write_text(json.dumps({"root": str(data)}))
    return run, data


@pytest.fixture
def run(made: tuple[Path, Path]) -> Path:
    return made[0]


@pytest.fixture
def work(made: tuple[Path, Path], tmp_path: Path) -> Path:
    """A folder to work on, whose check doubts three labels."""
    work = tmp_path / "work"
    shutil.copytree(made[1], work)
    rows = [
        ("dog/0.jpg", "dog", f"{HOSTILE}", "93%"),
        (f"{HOSTILE}/1.jpg", HOSTILE, "'=cat", "80%"),
        ("'=cat/2.jpg", "'=cat", "dog", "60%"),
    ]
    (work / ".shoebox").mkdir()
    with (work / ".shoebox" / "check.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["check", "severity", "path", "label", "suggested", "action", "group", "detail"])
        for path, label, suggested, detail in rows:
            table.writerow(["label_suspects", "warning", path, label, suggested, "relabel", "", detail])
    return work


@pytest.fixture
def client_of(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., TestClient]]:
    """client_of(data=None): a client of the run's server, stopped at the end of the test; runs are made in tmp_path."""
    monkeypatch.chdir(tmp_path)
    clients: list[TestClient] = []

    def client(data: Path | None = None, folder: Path = run) -> TestClient:
        settings = Settings(data=data, device="cpu", watch_seconds=0)
        app = create_app(Service(folder, settings), settings, (mount,))
        clients.append(TestClient(app, base_url="http://localhost").__enter__())
        return clients[-1]

    yield client
    for one in clients:
        one.__exit__(None, None, None)
