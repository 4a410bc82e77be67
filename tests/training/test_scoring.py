import json

import numpy as np
import pytest

from shoebox.base.recipe import Recipe
from shoebox.classifier import Classifier
from shoebox.data.sources import open_source
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.intervals import Interval
from shoebox.training.fit import fit
from shoebox.training.scoring import score_parts


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run of one epoch on the digits: its folder, classifier, evaluations and the folder of the pictures."""
    cache, run = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("run")
    recipe = Recipe(model="simple(width=8, hidden=16)", size=16, epochs=1, optimizer="adam", lr=0.01, precision="fp32")
    index = open_source("digits", cache=cache)
    classifier, packed = fit(index, recipe, run, cache=cache)
    scored = score_parts(classifier, packed, run)
    classifier.save(run)
    return run, classifier, scored, index.root


def test_the_temperature_is_fitted_stored_and_part_of_every_answer(done):
    run, classifier, scored, root = done
    again = Classifier.load(run)
    calibration = again.card["calibration"]
    assert calibration == classifier.card["calibration"]
    assert float(again.pipeline.temperature) == pytest.approx(calibration["temperature"]) != 1
    for part, evaluation in scored.items():
        kept = Evaluation.load(run / f"{part}.npz")
        assert (kept.logits == evaluation.logits).all()
        said = again.predict_proba([root / path for path in evaluation.paths[:20]])
        np.testing.assert_allclose(said, evaluation.probabilities[:20], atol=1e-5)
    assert calibration["pictures"] == len(scored["val"])
    assert calibration["val"]["after"]["log_loss"] <= calibration["val"]["before"]["log_loss"]
    assert calibration["test"]["after"]["log_loss"] == scored["test"].metrics()["log_loss"]


def test_the_card_holds_every_headline_figure_with_its_interval(done):
    run, _, scored, _ = done
    card = json.loads((run / "config.json").read_text())["card"]
    for part in ("val", "test"):
        for name, (value, low, high) in card["figures"][part].items():
            assert low <= value <= high, name
    assert Interval(*card["figures"]["test"]["accuracy"]).value == scored["test"].metrics()["accuracy"]


def test_without_validation_nothing_is_calibrated(tmp_path, make_folder, small):
    index = open_source(make_folder(tmp_path / "data", {"cat": 20, "dog": 20}))
    classifier, packed = fit(index, small.override({"validation": 0.0, "epochs": 1}), tmp_path / "run")
    assert list(score_parts(classifier, packed, tmp_path / "run")) == ["test"]
    assert classifier.card["calibration"]["temperature"] == 1
    assert classifier.card["calibration"]["pictures"] == 0
