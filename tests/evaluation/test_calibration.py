import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from shoebox.evaluation.calibration import HIGHEST, before_and_after, fit_temperature, with_temperature
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.metrics import softmax


def drawn(count, temperature, classes=10, seed=0):
    """Labels drawn from the softmax of logits, and those logits made too sharp by a known temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(count, classes)) * 2
    labels = np.array([random.choice(classes, p=row) for row in softmax(logits)])
    return labels, (logits * temperature).astype(np.float32)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_finds_the_temperature_that_made_the_logits_too_sharp(temperature):
    assert fit_temperature(*drawn(5000, temperature)) == pytest.approx(temperature, rel=0.05)


def test_equals_a_general_optimizer():
    labels, logits = drawn(3000, 2.5)
    share = 1 / 3002
    targets = np.full(logits.shape, share / 9)
    targets[np.arange(3000), labels] = 1 - share

    def loss(temperature):
        return -(targets * log_softmax(logits.astype(np.float64) / temperature, axis=1)).sum(1).mean()

    expected = minimize_scalar(loss, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-9}).x
    assert fit_temperature(labels, logits) == pytest.approx(expected, rel=1e-5)


def test_no_mistake_is_no_reason_for_boundless_confidence():
    labels = np.tile([0, 1], 50)
    temperature = fit_temperature(labels, np.eye(2)[labels] * 3)
    assert np.max(softmax(np.array([[3.0, 0.0]]) / temperature)) == pytest.approx(101 / 102)


def test_noise_gets_the_highest_temperature_and_nothing_to_fit_gets_one():
    labels, logits = np.tile([0, 1], 50), np.tile([[5.0, 0.0]], (100, 1))
    assert fit_temperature(labels, logits) == HIGHEST
    assert fit_temperature(labels, np.zeros((100, 2))) == 1
    assert fit_temperature(np.full(100, -1), logits) == 1
    assert fit_temperature(labels[:1], np.zeros((1, 1))) == 1
    assert fit_temperature(labels, logits * np.nan) == 1


def test_temperature_changes_confidence_and_no_prediction():
    labels, logits = drawn(4000, 3.0)
    raw = Evaluation(tuple(map(str, range(4000))), labels, logits, tuple("abcdefghij"))
    temperature = fit_temperature(labels, logits)
    calibrated = with_temperature(raw, temperature)
    assert (calibrated.predictions == raw.predictions).all()
    errors = before_and_after(calibrated, temperature)
    assert errors["before"]["ece"] > 0.1 > 0.03 > errors["after"]["ece"]
    assert errors["after"]["log_loss"] < errors["before"]["log_loss"]
