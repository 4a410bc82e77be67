"""What more pictures would bring: right on curves that are known, and told per class."""

import functools
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from learning import evidence

from shoebox.data.check import Curve
from shoebox.evaluation.learning_curve import doubled, measure_curve, more_pictures
from shoebox.evaluation.probe import predicted


def test_a_power_law_is_continued():
    sizes = np.array([100, 200, 400, 800])
    scores = 1 - 0.8 * sizes**-0.3 * np.ones((4, 1))
    gain, low, high = doubled(sizes, scores)
    assert gain == pytest.approx(0.8 * 800**-0.3 * (1 - 2**-0.3))
    assert low == pytest.approx(gain)
    assert high == pytest.approx(gain)


def test_the_interval_is_wider_where_repetitions_differ_and_no_gain_is_negative():
    sizes = np.array([100, 200, 400, 800])
    draw = np.random.default_rng(0)
    gain, low, high = doubled(sizes, 0.7 + 0.05 * draw.normal(size=(4, 4)))
    assert 0 <= low <= gain <= high
    assert doubled(sizes, np.linspace(0.9, 0.7, 4)[None] * np.ones((3, 1)))[0] == 0


def test_the_hard_class_gains_most():
    draw = np.random.default_rng(0)
    labels = np.arange(1800) % 3
    features = 6 * np.eye(3, 40)[labels] + draw.normal(size=(1800, 40))
    features[labels == 2] = 6 * np.eye(3, 40)[1] + 0.35 + draw.normal(size=(600, 40))
    curve = measure_curve(features.astype(np.float32), labels, 3, functools.partial(predicted, classes=3))
    assert curve.accuracy.shape == (4, 4)
    assert (np.diff(curve.accuracy.mean(0)) > -0.01).all()
    finding = more_pictures(evidence(features, labels, np.full((1800, 3), 1 / 3), curve=curve))
    assert finding.rows[-1].label == "a"
    assert finding.count == 3
    assert "points" in finding.means
    assert len(finding.chart[1]) == 3


def test_too_few_pictures_have_no_curve():
    features, labels = np.zeros((12, 4), np.float32), np.arange(12) % 3
    assert measure_curve(features, labels, 3, functools.partial(predicted, classes=3)) is None


def test_a_class_that_was_never_held_out_is_passed_over():
    recall = np.full((4, 4, 3), 0.8)
    recall[:, :, 1] = np.nan
    curve = Curve(np.array([10, 20, 40, 80]), np.full((4, 4), 0.8), recall)
    features, labels = np.random.default_rng(0).normal(size=(30, 5)), np.arange(30) % 3
    finding = more_pictures(evidence(features, labels, np.full((30, 3), 1 / 3), curve=curve))
    assert {row.label for row in finding.rows} == {"a", "c"}
    assert "bring little" in finding.do
