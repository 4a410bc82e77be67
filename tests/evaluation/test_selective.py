import numpy as np
import pytest

from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.selective import selective


def made(right, confidences):
    labels = np.zeros(len(right), np.int64)
    odds = np.log(np.array(confidences) / (1 - np.array(confidences)))
    logits = np.where(np.array(right)[:, None], np.stack([odds, 0 * odds], 1), np.stack([0 * odds, odds], 1))
    return Evaluation(tuple(map(str, range(len(right)))), labels, logits.astype(np.float32), ("a", "b"))


def test_the_curve_worked_out_by_hand():
    curve = selective(made([True, True, False, True], [0.9, 0.8, 0.7, 0.6]))
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert curve.risk == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert curve.aurc == pytest.approx((1 / 3 + 1 / 4) / 4)
    assert curve.best_aurc == pytest.approx(1 / 16)
    assert curve.coverage_at(0) == 0.5
    assert curve.threshold_at(0) == pytest.approx(0.8)
    assert curve.coverage_at(0.3) == 1
    assert curve.accuracy_at(0.5) == 1
    assert curve.accuracy_at(1) == 0.75


def test_equal_confidences_are_answered_together():
    curve = selective(made([True, False, True, False], [0.8] * 4))
    assert curve.risk == pytest.approx([0.5] * 4)
    assert curve.aurc == 0.5
    assert curve.coverage_at(0.4) == 0
    assert curve.threshold_at(0.4) > 1


def test_no_pictures():
    empty = selective(Evaluation((), np.zeros(0, np.int64), np.zeros((0, 2), np.float32), ("a", "b")))
    assert np.isnan(empty.aurc) and empty.coverage_at(1) == 0 and np.isnan(empty.accuracy_at(0.5))
