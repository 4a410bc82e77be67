import numpy as np
import pytest
from scipy.stats import binom

from shoebox.base.errors import UsageError
from shoebox.evaluation import conformal as module
from shoebox.evaluation.conformal import METHODS, calibrate, coverage
from shoebox.evaluation.evaluation import Evaluation


def drawn(rows, classes=6, seed=0):
    random = np.random.default_rng(seed)
    labels, logits = random.integers(0, classes, rows), random.normal(size=(rows, classes)).astype(np.float32)
    logits[np.arange(rows), labels] += 1.5
    return Evaluation(tuple(map(str, range(rows))), labels, logits, tuple("abcdefgh"[:classes]))


class Given:
    """A fitted classifier of scikit-learn's kind whose probabilities are the rows it is given."""

    def __init__(self, classes):
        self.classes_ = np.arange(classes)

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        return X

    def predict(self, X):
        return X.argmax(axis=1)

    def __sklearn_is_fitted__(self):
        return True


@pytest.mark.parametrize("error", [0.01, 0.05, 0.1, 0.3])
@pytest.mark.parametrize(("method", "theirs"), [("thr", "lac"), ("aps", "aps")])
def test_sets_equal_those_of_a_second_implementation(method, theirs, error, monkeypatch):
    from mapie.classification import SplitConformalClassifier
    from sklearn.base import BaseEstimator, ClassifierMixin

    estimator = type("Estimator", (Given, ClassifierMixin, BaseEstimator), {})(6)
    second = SplitConformalClassifier(estimator, 1 - error, conformity_score=theirs, prefit=True, random_state=7)
    validation, test = drawn(997), drawn(503, seed=1)
    second.conformalize(validation.probabilities, validation.labels)
    options = {"include_last_label": "randomized"} if method == "aps" else {}
    expected = second.predict_set(test.probabilities, conformity_score_params=options)[1][:, :, 0]
    # Both draw from a generator of their own; here ours draws what theirs does.
    monkeypatch.setattr(module, "_draws", lambda seed, count: np.random.RandomState(7).uniform(size=count))
    sets = calibrate(validation, error, method).sets(test.probabilities)
    assert (sets == expected).all()


@pytest.mark.parametrize("method", METHODS)
def test_coverage_is_as_promised(method):
    for error in (0.05, 0.2):
        held = coverage(calibrate(drawn(20_000), error, method), drawn(10_000, seed=1)).coverage
        low, high = binom.interval(0.999, 10_000, 1 - error)
        assert low / 10_000 - 0.004 <= held <= high / 10_000 + 0.004  # the threshold too comes from a sample


@pytest.mark.parametrize("method", METHODS)
def test_average_coverage_over_many_small_calibrations_is_at_least_as_promised(method):
    held = [coverage(calibrate(drawn(19, seed=s), 0.1, method), drawn(200, seed=1000 + s)).coverage for s in range(300)]
    assert 0.885 <= np.mean(held) <= 0.93


def test_too_few_pictures_promise_nothing_less_than_every_class():
    few = calibrate(drawn(5), 0.1)
    assert few.sets(drawn(50).probabilities).all()
    assert calibrate(drawn(9), 0.1).threshold < np.inf  # the largest of nine is enough: 10 × 0.9 = 9


def test_figures_of_sets_and_what_is_refused():
    found = coverage(calibrate(drawn(2000), 0.4), drawn(2000, seed=1))
    assert 0 <= found.empty < 1 and 0 < found.single <= 1
    assert np.isnan(coverage(calibrate(drawn(100)), drawn(0)).coverage)
    with pytest.raises(UsageError, match="thr, aps"):
        calibrate(drawn(10), method="raps")
    with pytest.raises(UsageError, match="between 0 and 1"):
        calibrate(drawn(10), 5)
