import numpy as np
import pytest

from shoebox.base.errors import UsageError
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.promise import _tail, promise


def evaluation(confidence, right):
    """Two classes; class 0 is always predicted, with these confidences, and right where said."""
    confidence = np.asarray(confidence, float)
    logits = np.stack([np.log(confidence), np.log(1 - confidence)], axis=1).astype(np.float32)
    labels = np.where(right, 0, 1).astype(np.int64)
    return Evaluation(tuple(map(str, range(len(labels)))), labels, logits, ("a", "b"))


def draw(seed, count):
    """Confidences that mean what they say."""
    random = np.random.default_rng(seed)
    confidence = random.uniform(0.5, 0.999, count)
    return evaluation(confidence, random.random(count) < confidence)


def test_the_promise_holds_on_new_pictures_nearly_always():
    broken = answered = 0
    for seed in range(60):
        kept = promise(draw(seed, 1000), 0.1)
        new = draw(seed + 1000, 5_000)
        sure = new.confidences >= kept.threshold
        answered += sure.mean()
        broken += (new.predictions != new.labels)[sure].mean() > 0.1 if sure.any() else 0
    assert broken <= 8, "a promise is broken with a probability of 0.05 at most"
    assert answered / 60 > 0.15, "and is no excuse for answering nothing: 0.4 could be answered"


def test_too_few_pictures_promise_nothing_and_say_so():
    kept = promise(evaluation([0.99] * 20, [True] * 20), 0.05)
    assert kept.threshold > 1 and kept.answered == 0
    assert "59 without a mistake" in str(kept)
    assert promise(evaluation([], []), 0.05).threshold > 1


def test_without_a_mistake_everything_is_answered():
    kept = promise(evaluation(np.linspace(0.6, 0.9, 100), [True] * 100), 0.05)
    assert kept.answered == 100 and kept.threshold == pytest.approx(0.6)


def test_the_tail_is_the_binomial_one():
    from scipy.stats import binom

    for wrong, count, error in ((0, 10, 0.1), (3, 100, 0.05), (40, 5000, 0.01)):
        assert _tail(wrong, count, error) == pytest.approx(binom.cdf(wrong, count, error), rel=1e-9)


@pytest.mark.parametrize("error", [0, 1, -0.1])
def test_an_error_out_of_range_is_refused(error):
    with pytest.raises(UsageError):
        promise(draw(0, 10), error)
