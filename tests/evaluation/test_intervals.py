import numpy as np
import pytest

from shoebox.evaluation import intervals as module
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.intervals import ends, intervals, resampled, wilson
from shoebox.evaluation.metrics import HEADLINE, METRICS, softmax


def scored(rows, classes, sharpness=2.0, seed=0):
    random = np.random.default_rng(seed)
    labels, logits = random.integers(0, classes, rows), random.normal(size=(rows, classes)).astype(np.float32)
    logits[np.arange(rows), labels] += sharpness
    return Evaluation(tuple(map(str, range(rows))), labels, logits, tuple(map(str, range(classes))))


@pytest.mark.parametrize(("rows", "classes"), [(200, 4), (7, 3), (40, 2), (5, 1)])
def test_every_metric_on_every_resample_is_the_metric_of_its_rows(rows, classes):
    one = scored(rows, classes)
    labels = np.minimum(one.labels, max(classes - 2, 0))  # a class without pictures
    probabilities = softmax(np.round(one.logits))  # and ties
    names = [n for n in METRICS if n not in ("ece", "adaptive_ece")] + ["top_k(k=2)"]
    fast = resampled(labels, probabilities, names, resamples=30, seed=3)
    draws = np.random.default_rng(3).integers(0, rows, (30, rows))
    for name in names:
        slow = [METRICS.build(name, labels[d], probabilities[d]) for d in draws]
        np.testing.assert_allclose(fast[name], slow, rtol=2e-6, atol=2e-6, err_msg=name)


def test_the_calibration_error_of_a_resample_keeps_the_bins():
    one = scored(300, 4)
    fast = resampled(one.labels, one.probabilities, ["ece"], resamples=20)["ece"]
    draws = np.random.default_rng(0).integers(0, 300, (20, 300))
    np.testing.assert_allclose(fast, [METRICS["ece"](one.labels[d], one.probabilities[d]) for d in draws], rtol=1e-5)


def test_chunks_change_nothing(monkeypatch):
    one = scored(50, 3)
    whole = resampled(one.labels, one.probabilities, HEADLINE, resamples=20)
    monkeypatch.setattr(module, "CHUNK_CELLS", 150)
    parts = resampled(one.labels, one.probabilities, HEADLINE, resamples=20)
    for name in HEADLINE:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-6)


def test_intervals_hold_their_value_and_narrow_with_more_pictures():
    wide, narrow = intervals(scored(200, 5)), intervals(scored(3200, 5))
    assert list(wide) == list(HEADLINE)
    for name in HEADLINE:
        assert wide[name].low <= wide[name].value <= wide[name].high
        assert wide[name].high - wide[name].low > 1.5 * (narrow[name].high - narrow[name].low)


def test_a_fair_share_of_intervals_holds_the_truth():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        labels = np.zeros(150, dtype=np.int64)
        logits = np.where(random.random(150)[:, None] < 0.8, [[1.0, 0.0]], [[0.0, 1.0]]).astype(np.float32)
        made = Evaluation(tuple(map(str, range(150))), labels, logits, ("a", "b"))
        found = intervals(made, ["accuracy"], resamples=300)["accuracy"]
        held += found.low <= 0.8 <= found.high
    assert 0.90 <= held / 200 <= 0.99


def test_no_mistake_is_no_certainty():
    perfect = intervals(scored(100, 3, sharpness=50), ["accuracy"])["accuracy"]
    assert perfect.value == perfect.high == 1
    assert perfect.low == pytest.approx(0.963, abs=1e-3)


def test_wilson_as_published():
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, table I
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=1e-4)
    assert wilson(0, 0) == (0, 1)


def test_nothing_to_measure():
    empty = Evaluation((), np.zeros(0, np.int64), np.zeros((0, 3), np.float32), ("a", "b", "c"))
    assert np.isnan(list(intervals(empty).values())).all()
    assert np.isnan(ends(np.full(5, np.nan))).all()


def test_an_area_that_would_take_minutes_has_no_interval(monkeypatch):
    monkeypatch.setattr(module, "AREA_WORK", 10)
    found = intervals(scored(50, 3), ["roc_auc", "accuracy"])
    assert np.isfinite(found["roc_auc"].value) and np.isnan(found["roc_auc"].low)
    assert np.isfinite(found["accuracy"]).all()
