"""The same pictures give the same answers through the pack, the API and the command line, before and after saving."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from shoebox.base.recipe import Recipe
from shoebox.classifier import Classifier
from shoebox.data.sources import open_source
from shoebox.training.train import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("parity")
    draw = np.random.default_rng(0)
    for name, tint in (("cat", (200, 60, 60)), ("dog", (60, 60, 200)), ("owl", (60, 200, 60))):
        (root / "data" / name).mkdir(parents=True)
        for number in range(20):
            height, width = draw.integers(12, 60, 2)
            pixels = draw.normal(tint, 50, (height, width, 3)).clip(0, 255).astype(np.uint8)
            suffix = ("jpg", "png", "webp")[number % 3]
            Image.fromarray(pixels).save(root / "data" / name / f"{number}.{suffix}")
    recipe = Recipe(model="simple(width=8)", size=24, store=32, epochs=2, batch_size=8, tensorboard=False)
    return train(open_source(root / "data"), recipe, run=root / "run"), root


def test_the_pack_the_api_and_the_command_line_agree(trained):
    run, root = trained
    evaluation = run.evaluation
    files = [root / "data" / path for path in evaluation.paths]
    loaded = Classifier.load(run.folder)
    by_api = loaded.predict_proba(files)
    np.testing.assert_allclose(by_api, evaluation.probabilities, atol=1e-5)
    one_by_one = np.concatenate([loaded.predict_proba([file.read_bytes()]) for file in files])
    np.testing.assert_allclose(one_by_one, by_api, atol=1e-5)
    table = loaded.predict(files, top=3)
    assert list(table["label"]) == [loaded.classes[i] for i in by_api.argmax(1)]
    command = [sys.executable, "-m", "shoebox", "predict", str(run.folder), *map(str, files), "--json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout)["predictions"]
    assert [row["label"] for row in rows] == list(table["label"])
    np.testing.assert_allclose([row["confidence"] for row in rows], table["confidence"], atol=1e-5)


def test_evaluating_again_gives_the_figures_of_training(trained):
    run, root = trained
    again = Classifier.load(run.folder).evaluate(root / "data")
    assert again.part == "test"
    assert sorted(again.paths) == sorted(run.evaluation.paths)
    for name, value in run.evaluation.metrics().items():
        assert again.metrics()[name] == pytest.approx(value, abs=1e-5, nan_ok=True), name


def test_classes_are_matched_by_name_not_by_position(trained, tmp_path):
    run, root = trained
    part = tmp_path / "part"
    for name in ("owl", "cat"):
        (part / name).mkdir(parents=True)
        for file in sorted((root / "data" / name).iterdir())[:5]:
            (part / name / file.name).write_bytes(file.read_bytes())
    evaluation = Classifier.load(run.folder).evaluate(part)
    assert {evaluation.classes[label] for label in evaluation.labels} == {"cat", "owl"}
    truth = [evaluation.classes[label] for label in evaluation.labels]
    assert truth == [path.partition("/")[0] for path in evaluation.paths]
