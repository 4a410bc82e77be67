"""The probe: right where features tell, honest where they do not, and the same as solving each fold by itself."""

import numpy as np
import pytest

from shoebox.evaluation.neighbours import directions, nearest
from shoebox.evaluation.probe import out_of_fold, predicted


@pytest.fixture
def told():
    """Three classes around three points, one label in ten wrong."""
    draw = np.random.default_rng(0)
    truth = np.arange(300) % 3
    features = (draw.normal(size=(3, 20))[truth] * 2 + draw.normal(size=(300, 20))).astype(np.float32)
    features = directions(features, 20)
    labels = np.where(np.arange(300) % 10 == 0, (truth + 1) % 3, truth)
    return features, labels, truth, draw.permutation(300) % 5


def test_it_finds_the_truth_below_wrong_labels(told):
    features, labels, truth, folds = told
    found = out_of_fold(features, labels, 3, folds)
    assert found.shape == (300, 3)
    assert np.allclose(found.sum(1), 1)
    assert (found.argmax(1) == truth).mean() > 0.95
    own = found[np.arange(300), labels]
    assert own[labels != truth].mean() < 0.3 < 0.6 < own[labels == truth].mean()
    assert (predicted(features[:200], labels[:200], features[200:], 3) == truth[200:]).mean() > 0.95


def test_it_is_not_told_the_label_it_is_asked_about():
    """With labels at random, a probe that had seen them would agree with them; one out of fold cannot."""
    draw = np.random.default_rng(0)
    features, labels = directions(draw.normal(size=(200, 60)).astype(np.float32), 60), np.arange(200) % 2
    found = out_of_fold(features, labels, 2, draw.permutation(200) % 5)
    assert abs((found.argmax(1) == labels).mean() - 0.5) < 0.15
    changed = labels.copy()
    changed[7] = 1 - changed[7]
    again = out_of_fold(features, changed, 2, np.where(np.arange(200) == 7, 0, 1))
    before = out_of_fold(features, labels, 2, np.where(np.arange(200) == 7, 0, 1))
    assert np.sign(again[7, 0] - 0.5) == np.sign(before[7, 0] - 0.5)


def test_a_class_that_is_in_one_fold_only_and_features_that_say_nothing():
    features = np.zeros((20, 4), np.float32)
    labels = np.array([0] * 10 + [1] * 9 + [2])
    found = out_of_fold(features, labels, 4, np.arange(20) % 2)
    assert np.isfinite(found).all()
    assert np.allclose(found.sum(1), 1)


def test_neighbours_by_direction(told):
    features, _, truth, _ = told
    assert np.allclose(np.linalg.norm(directions(features, 8), axis=1), 1, atol=1e-5)
    assert directions(features, 8).shape == (300, 8)
    rows, cosines = nearest(directions(features, 20), 5)
    assert rows.shape == cosines.shape == (300, 5)
    assert (rows != np.arange(300)[:, None]).all()
    assert (np.diff(cosines, axis=1) <= 1e-6).all()
    assert (truth[rows] == truth[:, None]).mean() > 0.9
    assert nearest(features[:2], 5)[0].tolist() == [[1], [0]]
