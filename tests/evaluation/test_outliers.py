"""Outliers and look-alikes: the planted ones, and no others."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from learning import evidence

from shoebox.evaluation.outliers import look_alikes, outliers


def clusters(count=400):
    draw = np.random.default_rng(0)
    truth = np.arange(count) % 3
    return 6 * np.eye(3, 30)[truth] + draw.normal(size=(count, 30)) * np.r_[np.ones(3), np.full(27, 0.4)], truth


def paths(finding):
    return [row.path for row in finding.rows]


def test_pictures_of_no_class():
    features, labels = clusters()
    features[[5, 77]] = 0
    features[5, 10], features[77, 20] = 9, 9
    finding = outliers(evidence(features, labels, np.full((400, 3), 1 / 3), skip=1))
    assert sorted(paths(finding)) == ["6.png", "78.png"]
    assert "deviations from the usual" in finding.rows[0].detail


def test_few_pictures_have_no_outliers():
    features, labels = clusters(30)
    assert outliers(evidence(features, labels, np.full((30, 3), 1 / 3))) is None


def test_what_a_network_takes_for_the_same_and_pixels_do_not():
    features, labels = clusters()
    features[[10, 11]] = features[20] + 0.01
    features[200] = features[201]
    finding = look_alikes(evidence(features, labels, np.full((400, 3), 1 / 3), pairs=[(200, 201)]))
    assert sorted(paths(finding)) == ["10.png", "11.png", "20.png"]
    assert len({row.group for row in finding.rows}) == 1
