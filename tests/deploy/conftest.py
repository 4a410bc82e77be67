"""Classifiers that have learnt nothing: one saved, one with all that a run's folder holds, and that one exported."""

import json
import shutil
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

MODEL = "simple(width=8, hidden=16)"


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(0)
    network = build_model(MODEL, classes=3, size=16)
    Classifier(MODEL, network, ("=cat", "dog", "<b>"), Preprocess(store=16, size=16), device="cpu").save(folder)
    return folder


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


@pytest.fixture
def run(trained: tuple[Path, Path], exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run with its export, for tests that change it; measuring is quick."""
    monkeypatch.setattr(fastest, "ROUNDS", 1)
    monkeypatch.setattr(fastest, "LEAST_SECONDS", 0.01)
    shutil.copytree(trained[0], tmp_path / "run")
    return tmp_path / "run"
