"""Every figure equals scikit-learn's, on random and on degenerate cases."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shoebox.evaluation.metrics import METRICS, SIX, measure, softmax


def reference(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """What scikit-learn says."""
    from sklearn import metrics as sk

    probabilities = softmax(logits)
    classes = logits.shape[1]
    predictions = probabilities.argmax(axis=1)
    named = {"average": "macro", "zero_division": 0}
    weighted = {"average": "weighted", "zero_division": 0}
    both = [k for k in range(classes) if 0 < np.sum(labels == k) < len(labels)]
    areas = [sk.roc_auc_score(labels == k, probabilities[:, k]) for k in both]
    return {
        "accuracy": sk.accuracy_score(labels, predictions),
        "macro_precision": sk.precision_score(labels, predictions, **named),
        "macro_recall": sk.recall_score(labels, predictions, **named),
        "macro_f1": sk.f1_score(labels, predictions, **named),
        "roc_auc": np.mean(areas) if areas else np.nan,
        "log_loss": sk.log_loss(labels, probabilities, labels=range(classes)),
        "balanced_accuracy": quietly(sk.balanced_accuracy_score, labels, predictions),
        "weighted_precision": sk.precision_score(labels, predictions, **weighted),
        "weighted_recall": sk.recall_score(labels, predictions, **weighted),
        "weighted_f1": sk.f1_score(labels, predictions, **weighted),
        "brier": sk.brier_score_loss(labels, probabilities, labels=range(classes)),
        "cohen_kappa": quietly(sk.cohen_kappa_score, labels, predictions, labels=range(classes)),
        "mcc": quietly(sk.matthews_corrcoef, labels, predictions),
        "top_k(k=2)": top(labels, probabilities, 2),
        "top_k": top(labels, probabilities, 5),
    }


def quietly(metric, *args, **options) -> float:
    """Its value; it also warns of what is degenerate, which is the point here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return metric(*args, **options)


def top(labels: np.ndarray, probabilities: np.ndarray, k: int) -> float:
    """scikit-learn's; it takes no matrix of two columns, of which the best two hold everything."""
    from sklearn.metrics import top_k_accuracy_score

    classes = probabilities.shape[1]
    return 1.0 if classes <= k else top_k_accuracy_score(labels, probabilities, k=k, labels=range(classes))


def agree(labels: np.ndarray, logits: np.ndarray) -> None:
    theirs = reference(labels, logits)
    ours = measure(labels, logits, list(theirs))
    assert list(ours) == ["loss", *theirs]
    assert list(ours)[1:7] == list(SIX)
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, rel=1e-12, abs=1e-12, nan_ok=True), name


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A few rows over a few classes; whole logits make ties, labels from some of the classes leave others out."""
    rows, classes = draw(st.integers(1, 30)), draw(st.integers(2, 6))
    labels = draw(arrays(np.int64, rows, elements=st.integers(0, draw(st.integers(0, classes - 1)))))
    element = draw(st.sampled_from([st.integers(-2, 2).map(float), st.floats(-60, 60, width=32)]))
    return labels, draw(arrays(np.float32, (rows, classes), elements=element))


@given(scored())
@settings(max_examples=100, deadline=None)
def test_equal_to_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    agree(*case)


@pytest.mark.parametrize("classes", [2, 10, 200])
def test_equal_to_scikit_learn_at_size(classes: int) -> None:
    random = np.random.default_rng(classes)
    labels = random.integers(0, classes, 2000)
    logits = random.normal(size=(2000, classes)).astype(np.float32)
    logits[np.arange(2000), labels] += 2
    agree(labels, logits)
    agree(np.minimum(labels, classes // 2), logits)  # half the classes absent
    agree(labels, np.round(logits))  # ties
    agree(labels, logits * 100)  # probabilities of exactly 0 and 1
    agree(labels, np.tile(logits[:1], (2000, 1)))  # one class predicted only, all scores tied
    agree(np.zeros(2000, dtype=np.int64), logits)  # one class present only


def test_equal_to_scikit_learn_one_against_rest() -> None:
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(0)
    labels, logits = random.integers(0, 5, 300), random.normal(size=(300, 5))
    expected = roc_auc_score(labels, softmax(logits), multi_class="ovr", average="macro")
    assert measure(labels, logits)["roc_auc"] == pytest.approx(expected, rel=1e-12)


def test_a_class_absent_from_this_part_does_not_drag_the_macro_down() -> None:
    logits = np.eye(3)[[0, 0, 1, 1]] * 9  # all right, and nobody mentions class 2
    figures = measure(np.array([0, 0, 1, 1]), logits)
    assert figures["macro_precision"] == figures["macro_recall"] == figures["macro_f1"] == figures["roc_auc"] == 1


def test_loss_is_the_cross_entropy_without_bound() -> None:
    figures = measure(np.array([0, 1]), np.array([[0.0, 1000.0], [0.0, 1000.0]]))
    assert figures["loss"] == 500
    assert figures["log_loss"] == pytest.approx(-np.log(np.finfo(np.float64).eps) / 2)


def test_loss_equals_scipy() -> None:
    from scipy.special import log_softmax

    random = np.random.default_rng(0)
    labels, logits = random.integers(0, 7, 100), random.normal(size=(100, 7)) * 5
    expected = -log_softmax(logits, axis=1)[np.arange(100), labels].mean()
    assert measure(labels, logits)["loss"] == pytest.approx(expected, rel=1e-12)


def test_rows_without_a_label_are_left_out() -> None:
    random = np.random.default_rng(0)
    labels, logits = random.integers(-1, 4, 100), random.normal(size=(100, 4))
    assert measure(labels, logits) == measure(labels[labels >= 0], logits[labels >= 0])


@pytest.mark.parametrize(
    ("labels", "logits"),
    [
        ([], np.zeros((0, 3))),
        ([-1, -1], np.zeros((2, 3))),
        ([0, 1], np.array([[0.0, 1, 2], [np.nan, 0, 0]])),
        ([0, 1], np.array([[0.0, 1, 2], [np.inf, 0, 0]])),
        ([0, 1], np.array([[0.0, 1, 2], [-np.inf, -np.inf, -np.inf]])),
    ],
)
def test_nothing_to_measure_is_nan(labels: list[int], logits: np.ndarray) -> None:
    figures = measure(np.array(labels, dtype=np.int64), logits)
    assert list(figures) == ["loss", *SIX]
    assert all(np.isnan(value) for value in figures.values())


def test_minus_infinity_is_a_probability_of_zero() -> None:
    logits = np.array([[0.0, -np.inf], [0.0, -np.inf]])
    assert measure(np.array([0, 0]), logits)["loss"] == 0
    assert measure(np.array([0, 1]), logits)["loss"] == np.inf


def test_half_precision_is_computed_in_double() -> None:
    random = np.random.default_rng(0)
    labels, logits = random.integers(0, 4, 500), random.normal(size=(500, 4)).astype(np.float16)
    assert measure(labels, logits) == measure(labels, logits.astype(np.float64))


def test_ece_agrees_with_a_second_implementation() -> None:
    from mapie.metrics.calibration import expected_calibration_error as second

    for seed, classes in enumerate((2, 3, 10, 50)):
        random = np.random.default_rng(seed)
        labels, logits = random.integers(0, classes, 3000), random.normal(size=(3000, classes)) * 3
        logits[np.arange(3000), labels] += 2
        probabilities = softmax(logits)
        right, confidences = (probabilities.argmax(1) == labels).astype(int), probabilities.max(1)
        for bins in (1, 10, 15):
            figures = measure(labels, logits, [f"ece(bins={bins})", f"adaptive_ece(bins={bins})"])
            expected = second(right, confidences, num_bins=bins + 1, split_strategy="uniform")  # it counts edges
            assert figures[f"ece(bins={bins})"] == pytest.approx(expected, rel=1e-12)
            expected = second(right, confidences, num_bins=bins + 1, split_strategy="quantile")
            # It leaves its lowest bin's edge out into a bin of one picture of its own.
            assert figures[f"adaptive_ece(bins={bins})"] == pytest.approx(expected, abs=2 / 3000)


def test_a_calibrated_classifier_has_no_calibration_error() -> None:
    probabilities = np.repeat([[0.75, 0.25]], 400, axis=0)
    labels = np.repeat([0, 0, 0, 1], 100)
    assert METRICS["ece"](labels, probabilities) == METRICS["adaptive_ece"](labels, probabilities) == 0
    assert METRICS["ece"](np.zeros(400, dtype=int), probabilities) == pytest.approx(0.25)


@pytest.mark.parametrize("name", METRICS)
def test_contract(name: str) -> None:
    labels, probabilities = np.array([0, 1, 1, 0]), softmax(np.array([[2.0, 0], [0, 2], [2, 0], [2, 0]]))
    value = METRICS.build(name, labels, probabilities)
    assert type(value) is float
    assert np.isfinite(value)
    assert METRICS[name].__doc__


def test_imports_nothing_heavy() -> None:
    code = "import sys, shoebox.evaluation.metrics, shoebox.evaluation.evaluation;"
    code += "assert not {'sklearn', 'pandas', 'matplotlib', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_warning_in_degenerate_cases() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure(np.array([0]), np.array([[1.0, 2.0]]))
        measure(np.array([0]), np.array([[1.0]]))
