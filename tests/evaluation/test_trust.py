"""Promises chosen on some pictures and held against others."""

import numpy as np
import pytest

from shoebox.evaluation.calibration import with_temperature
from shoebox.evaluation.conformal import calibrate, coverage
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.metrics import measure
from shoebox.evaluation.promise import promise
from shoebox.evaluation.trust import MISSED, MISTAKES, taken, trust


def scored(count: int, seed: int, part: str) -> Evaluation:
    """Labels drawn from the very probabilities that the logits give: perfectly calibrated."""
    random = np.random.default_rng(seed)
    logits = (6 * random.normal(size=(count, 4))).astype(np.float32)
    odds = np.exp(logits.astype(np.float64))
    labels = (random.random((count, 1)) > np.cumsum(odds / odds.sum(1, keepdims=True), axis=1)).sum(axis=1)
    return Evaluation(tuple(map(str, range(count))), labels.astype(np.int64), logits, tuple("abcd"), None, part)


def test_promises_chosen_on_validation_hold_on_test():
    validation, test = scored(3000, 0, "val"), scored(4000, 1, "test")
    found = trust(test, validation, 1.0)
    assert found is not None and not found.halves and found.chosen_on == 3000
    for kept, error in zip(found.kept, MISTAKES, strict=True):
        made = promise(validation, error)
        sure = test.confidences >= made.threshold
        assert kept.threshold == made.threshold and kept.answered == pytest.approx(sure.mean())
        assert kept.wrong == pytest.approx((test.predictions != test.labels)[sure].mean())
        assert kept.wrong <= error
    for sets, error in zip(found.sets, MISSED, strict=True):
        expected = coverage(calibrate(validation, error), test)
        assert (sets.held, sets.size, sets.single, sets.empty) == pytest.approx(
            (expected.coverage, expected.size, expected.single, expected.empty)
        )
        assert sets.held == pytest.approx(1 - error, abs=0.02)
    assert found.sets[0].size > found.sets[1].size > found.sets[2].size


@pytest.mark.parametrize("validation", [None, scored(1000, 0, "val")])
def test_halves_answer_for_each_other(validation):
    evaluation = scored(2001, 0, "val")
    found = trust(evaluation, validation, 1.0)
    assert found is not None and found.halves and found.chosen_on == 1000
    assert found.sets[2].held == pytest.approx(0.9, abs=0.03)
    assert repr(found) == repr(trust(evaluation, validation, 1.0))  # nan is not equal to itself


def test_calibration_before_and_after():
    evaluation = scored(2000, 0, "test")
    found = trust(with_temperature(evaluation, 2.0), None, 2.0)
    assert found is not None and found.temperature == 2.0
    assert found.before == pytest.approx(measure(evaluation.labels, evaluation.logits, ("ece",))["ece"])
    assert found.before < found.after  # it was right before, and is too modest now


def test_too_little_to_promise():
    few = scored(20, 0, "test")
    found = trust(few, None, 1.0)
    assert found is not None and found.kept[0].answered == 0 and np.isnan(found.kept[0].wrong)
    assert found.sets[0].size == 4  # every class: anything less would be a guess
    assert trust(taken(few, np.arange(1)), None, 1.0) is None
    unlabelled = Evaluation(few.paths, np.full(20, -1), few.logits, few.classes)
    assert trust(unlabelled, None, 1.0) is None
