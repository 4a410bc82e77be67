"""A classifier that has learnt nothing, saved."""

from pathlib import Path

import pytest
import torch

from shoebox.classifier import Classifier
from shoebox.data.preprocess import Preprocess
from shoebox.models import build_model

MODEL = "simple(width=8, hidden=16)"


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(0)
    network = build_model(MODEL, classes=3, size=16)
    Classifier(MODEL, network, ("=cat", "dog", "<b>"), Preprocess(store=16, size=16), device="cpu").save(folder)
    return folder
