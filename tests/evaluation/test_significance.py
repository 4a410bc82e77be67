import numpy as np
import pytest
from scipy.stats import binomtest

from shoebox.evaluation.significance import binomial_tail, holm, mcnemar


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 1), (5, 5), (3, 12), (40, 90), (700, 612), (4000, 4100)])
def test_mcnemar_equals_the_exact_binomial_test(b, c):
    expected = binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar(b, c) == mcnemar(c, b) == pytest.approx(expected, rel=1e-9)


def test_a_tail_too_small_for_floats_is_zero_not_an_error():
    assert binomial_tail(0, 5000) == 0


def test_holm_as_worked_out_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_holm_finds_something_in_noise_less_than_once_in_twenty():
    random = np.random.default_rng(0)
    assert np.mean([min(holm(random.random(30).tolist())) < 0.05 for _ in range(2000)]) < 0.06
