"""Wrong labels: found, in order, with the right suggestion; and none among right ones."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from learning import evidence

from shoebox.evaluation.label_issues import called_wrong, joined, label_suspects, suspicion
from shoebox.evaluation.probe import out_of_fold


def made(share, seed=0, count=600):
    draw = np.random.default_rng(seed)
    truth = np.arange(count) % 3
    features = (4 * np.eye(3, 12)[truth] + draw.normal(size=(count, 12))).astype(np.float32)
    wrong = draw.random(count) < share
    labels = np.where(wrong, (truth + draw.integers(1, 3, count)) % 3, truth)
    return (
        evidence(features, labels, out_of_fold(features, labels, 3, draw.permutation(count) % 5), skip=2),
        truth,
        wrong,
    )


def test_the_wrong_ones_are_suspected_and_the_right_class_suggested():
    given, truth, wrong = made(0.1)
    finding = label_suspects(given)
    rows = np.array([int(row.path.partition(".")[0]) - 2 for row in finding.rows])
    assert wrong[rows].mean() > 0.9
    assert np.isin(np.flatnonzero(wrong), rows).mean() > 0.9
    assert all(row.suggested == "abc"[truth[i]] for i, row in zip(rows, finding.rows, strict=True) if wrong[i])
    assert all(row.label != row.suggested for row in finding.rows)
    assert wrong[rows[: len(rows) // 2]].all(), "the first are the likeliest"
    assert {row.action for row in finding.rows} <= {"relabel", ""}
    assert "a probe of the test" in finding.means


def test_right_labels_are_left_alone():
    finding = label_suspects(made(0.0)[0])
    assert finding.count <= 6


def test_neighbours_mend_what_the_probe_cannot_see():
    """Classes in two clusters each, crossed, which no line divides."""
    draw = np.random.default_rng(1)
    corner = draw.integers(0, 4, 800)
    features = np.array([[1, 1], [-1, -1], [1, -1], [-1, 1]])[corner] * 4 + draw.normal(size=(800, 2))
    truth = corner // 2
    labels = np.where(draw.random(800) < 0.1, 1 - truth, truth)
    probabilities = out_of_fold(features.astype(np.float32), labels, 2, draw.permutation(800) % 5)
    given = evidence(features, labels, probabilities, classes=("a", "b"))
    worst = np.argsort(-suspicion(labels, joined(given.learnt, labels)))[:60]
    assert (labels != truth)[worst].mean() > 0.9
    alone = np.argsort(-suspicion(labels, probabilities))[:60]
    assert (labels != truth)[alone].mean() < 0.5


def test_classes_without_pictures_and_one_class():
    labels = np.array([0, 0, 0, 3, 3, 3])
    assert not called_wrong(labels, np.full((6, 5), 0.2)).all()
    assert not called_wrong(np.zeros(4, np.int64), np.full((4, 2), 0.5)).any()


def test_nothing_without_a_network():
    assert label_suspects(replace(made(0.1, count=30)[0], learnt=None)) is None


@pytest.mark.parametrize("count", [6, 30])
def test_few_pictures(count):
    assert label_suspects(made(0.2, count=count)[0]).count <= count
