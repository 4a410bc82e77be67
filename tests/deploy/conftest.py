"""Classifiers that have learnt nothing: one saved, one with all that a run's folder holds, and that one exported."""

import shutil
from pathlib import Path

import pytest
import torch

from shoebox.classifier import Classifier
from shoebox.data.preprocess import Preprocess
from shoebox.deploy import fastest
from shoebox.models import build_model

MODEL = "simple(width=8, hidden=16)"


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(0)
    network = build_model(MODEL, classes=3, size=16)
    Classifier(MODEL, network, ("=cat", "dog", "<b>"), Preprocess(store=16, size=16), device="cpu").save(folder)
    return folder


@pytest.fixture
def run(trained: tuple[Path, Path], exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run with its export, for tests that change it; measuring is quick."""
    monkeypatch.setattr(fastest, "ROUNDS", 1)
    monkeypatch.setattr(fastest, "LEAST_SECONDS", 0.01)
    shutil.copytree(trained[0], tmp_path / "run")
    return tmp_path / "run"
