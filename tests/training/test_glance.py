"""A glance: features that tell the classes apart although some labels are wrong."""

import numpy as np
import pytest
from PIL import Image

from shoebox.data.sources import open_source
from shoebox.evaluation.label_issues import joined, suspicion
from shoebox.training import glance as glance_module
from shoebox.training import learnt


@pytest.fixture(scope="module")
def striped(tmp_path_factory):
    """Pictures with stripes across or down, one label in ten wrong."""
    root = tmp_path_factory.mktemp("striped")
    draw = np.random.default_rng(0)
    for i in range(160):
        stripes = np.tile(np.where(np.arange(20) // 3 % 2, 180, 70), (20, 1))
        shown = stripes if i % 2 else stripes.T
        label = ("across", "down")[(i + (i % 20 < 2)) % 2]
        (root / label).mkdir(exist_ok=True)
        pixels = (shown[..., None] + draw.normal(0, 30, (20, 20, 3))).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / label / f"{'wrong' if i % 20 < 2 else 'right'} {i * 7919 % 1000}.png")
    return root


def test_a_glance_finds_the_wrong_labels(striped, monkeypatch):
    monkeypatch.setattr(learnt, "MANY", 100)
    monkeypatch.setattr(learnt, "on_disk", lambda name: False)
    monkeypatch.setattr(glance_module, "SETTINGS", {"model": "simple(width=8)", "batch_size": 8, "size": 16})
    monkeypatch.setattr(glance_module, "PASSES", 8)
    index = open_source(striped)
    found = learnt.learn(index, np.arange(len(index)))
    assert found.features.shape[0] == len(index)
    assert "few passes" in found.how
    assert found.curve is None, "these features know all labels"
    order = np.argsort(-suspicion(index.labels, joined(found, index.labels)))
    wrong = np.array(["wrong" in path for path in index.paths])
    assert wrong[order[: wrong.sum()]].mean() > 0.8
