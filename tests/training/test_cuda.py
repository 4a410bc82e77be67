"""Training on a GPU, where there is one."""

import numpy as np
import pytest
import torch

from shoebox.base.recipe import Recipe
from shoebox.classifier import Classifier
from shoebox.data.batches import Resident
from shoebox.data.sources import open_source
from shoebox.training import loop
from shoebox.training.fit import fit

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture
def index(tmp_path, make_folder):
    return open_source(make_folder(tmp_path / "data", {"cat": 200, "dog": 200}, size=(32, 32)))


@pytest.fixture
def recipe() -> Recipe:
    return Recipe.load("fast").override({"model": "speednet(width=0.25)", "epochs": 6, "batch_size": 32})


def test_speednet_learns_on_a_gpu_and_answers_alike_on_a_cpu(tmp_path, index, recipe):
    _, packed = fit(index, recipe, tmp_path / "run", device="cuda")
    rows = np.arange(len(packed))
    here, there = (Classifier.load(tmp_path / "run", device).score(packed, rows) for device in ("cpu", "cuda"))
    assert (there.logits.argmax(1) == there.labels).mean() > 0.95
    assert (here.logits.argmax(1) == there.logits.argmax(1)).mean() > 0.99


def test_a_step_does_not_wait_for_the_gpu(tmp_path, index, recipe, monkeypatch):
    update, residents = loop.update, []

    def watched(session, batch):
        residents.append(isinstance(session.packed, Resident))
        torch.cuda.set_sync_debug_mode("error" if len(residents) > 3 else "default")
        try:
            update(session, batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(loop, "update", watched)
    fit(index, recipe, tmp_path / "run", device="cuda")
    assert len(residents) > 3 and all(residents)
