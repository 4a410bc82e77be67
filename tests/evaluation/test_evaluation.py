"""The Evaluation: its tables agree with scikit-learn's, and its file gives back what was put in."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoebox.base.errors import ShoeboxError
from shoebox.evaluation.evaluation import Evaluation


def example(classes: tuple[str, ...] = ("ant", "bee", "cat"), rows: int = 60, features: int | None = 8) -> Evaluation:
    random = np.random.default_rng(0)
    labels = random.integers(0, len(classes), rows)
    logits = random.normal(size=(rows, len(classes))).astype(np.float32)
    logits[np.arange(rows), labels] += 1
    kept = None if features is None else random.normal(size=(rows, features)).astype(np.float16)
    return Evaluation(tuple(f"a/{i}.jpg" for i in range(rows)), labels, logits, classes, kept, "test")


def same(one: Evaluation, other: Evaluation) -> bool:
    arrays = [(one.labels, other.labels), (one.logits, other.logits)]
    if one.features is not None and other.features is not None:
        arrays.append((one.features, other.features))
    return (
        (one.paths, one.classes, one.part) == (other.paths, other.classes, other.part)
        and (one.features is None) == (other.features is None)
        and all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in arrays)
    )


@pytest.mark.parametrize("features", [None, 8])
@pytest.mark.parametrize("rows", [0, 1, 60])
def test_round_trip(tmp_path: Path, features: int | None, rows: int) -> None:
    kept = example(rows=rows, features=features)
    kept.save(tmp_path / "kept.npz")
    assert same(Evaluation.load(tmp_path / "kept.npz"), kept)
    assert [p.name for p in tmp_path.iterdir()] == ["kept.npz"]


@given(st.lists(st.binary(max_size=12), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_file_name_comes_back(tmp_path_factory: pytest.TempPathFactory, names: list[bytes]) -> None:
    texts = tuple(name.decode("utf-8", "surrogateescape") for name in names)
    kept = Evaluation(
        texts, np.zeros(len(texts), np.int64), np.zeros((len(texts), 1), np.float32), (texts[0],), part=""
    )
    path = tmp_path_factory.mktemp("kept") / "kept.npz"
    kept.save(path)
    assert same(Evaluation.load(path), kept)
    assert list(kept.to_frame()["path"]) == list(texts)
    assert kept.report_text().encode()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("stored") / "kept.npz"
    example(rows=5, features=2).save(path)
    return path.read_bytes()


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_is_said_to_be_damaged(
    stored: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    damaged = bytearray(stored)
    damaged[data.draw(st.integers(0, len(stored) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("damaged") / "kept.npz"
    path.write_bytes(damaged[: data.draw(st.sampled_from([None, 0, 10, len(stored) // 2]))])
    try:
        Evaluation.load(path)  # a flipped bit in a place that means nothing does no harm
    except ShoeboxError as e:
        assert str(path) in str(e)


def test_so_is_every_bit_of_an_entry_of_its_list_of_members(stored: bytes, tmp_path: Path) -> None:
    """Some say that it is encrypted, or compressed in a way that there is not."""
    path, start, refused = tmp_path / "kept.npz", stored.index(b"PK\x01\x02"), 0
    for at in range(start, start + 46):
        for bit in range(8):
            damaged = bytearray(stored)
            damaged[at] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                Evaluation.load(path)
            except ShoeboxError as e:
                refused += str(path) in str(e)
    assert refused > 46


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", format=np.array([{}], dtype=object))
    with pytest.raises(ShoeboxError, match=r"evil\.npz"):
        Evaluation.load(tmp_path / "evil.npz")


def test_a_later_format_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "later.npz", format=np.array(99))
    with pytest.raises(ShoeboxError, match="its format is 99"):
        Evaluation.load(tmp_path / "later.npz")
    with pytest.raises(ShoeboxError, match=r"none\.npz"):
        Evaluation.load(tmp_path / "none.npz")


def test_shapes_that_do_not_fit_are_refused() -> None:
    labels, logits = np.zeros(2, np.int64), np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="expected"):
        Evaluation(("a",), labels, logits, ("x", "y", "z"))
    with pytest.raises(ValueError, match="expected"):
        Evaluation(("a", "b"), labels, logits, ("x", "y"))
    with pytest.raises(ValueError, match="out of range"):
        Evaluation(("a", "b"), labels + 3, logits, ("x", "y", "z"))
    with pytest.raises(ValueError, match="features"):
        Evaluation(("a", "b"), labels, logits, ("x", "y", "z"), np.zeros((3, 4), np.float16))


def test_report_and_confusion_are_scikit_learns() -> None:
    from sklearn.metrics import classification_report, confusion_matrix

    measured = example()
    named = {"target_names": measured.classes, "zero_division": 0}
    expected = classification_report(measured.labels, measured.predictions, output_dict=True, **named)
    report = measured.report()
    assert list(report.index) == [*measured.classes, "accuracy", "macro avg", "weighted avg"]
    for name in report.index.drop("accuracy"):
        assert report.loc[name].tolist() == pytest.approx(list(expected[name].values()), rel=1e-12)
    assert report.loc["accuracy", "f1"] == pytest.approx(expected["accuracy"])
    assert (measured.confusion() == confusion_matrix(measured.labels, measured.predictions)).all()

    theirs = classification_report(measured.labels, measured.predictions, **named).replace("f1-score", "f1")
    assert measured.report_text().split() == theirs.split()


def test_report_of_a_class_that_nobody_mentions() -> None:
    measured = Evaluation(("p", "q"), np.array([0, 1]), np.eye(3, dtype=np.float32)[:2], ("猫", "bee", "cat"))
    report = measured.report()
    assert report.loc["cat"].isna().tolist() == [True, True, True, False]
    assert report.loc["macro avg", "f1"] == 1 == measured.metrics()["macro_f1"]
    lines = measured.report_text().splitlines()
    assert lines[4].split() == ["cat", "0"]
    assert lines[2].index("1.00") == lines[3].index("1.00") - 1  # 猫 takes two columns


def test_rows_without_a_label_count_nowhere() -> None:
    labels = np.array([-1, 0, 1])
    logits = np.array([[0, 9], [0, 1], [0, 1]], dtype=np.float32)
    measured = Evaluation(("a", "b", "c"), labels, logits, ("x", "y"))
    assert measured.confusion().tolist() == [[0, 1], [0, 1]]
    assert measured.wrong().tolist() == [1]
    assert measured.metrics()["accuracy"] == 0.5
    assert measured.report().loc["accuracy"].tolist()[2:] == [0.5, 2]
    frame = measured.to_frame()
    assert frame["label"].tolist() == [None, "x", "y"]
    assert frame["predicted"].tolist() == ["y", "y", "y"]
    assert frame["correct"].tolist() == [None, False, True]
    assert list(frame.columns) == ["path", "label", "predicted", "confidence", "correct"]


def test_no_labels_at_all() -> None:
    measured = Evaluation(("a",), np.array([-1]), np.zeros((1, 2), np.float32), ("x", "y"))
    assert np.isnan(list(measured.metrics().values())).all()
    assert measured.report()["f1"].isna().all()
    assert measured.wrong().shape == (0,)
    assert measured.report_text()


def test_wrong_is_sorted_by_confidence_and_stable() -> None:
    logits = np.array([[0, 1], [0, 5], [9, 0], [0, 5], [0, 9]], dtype=np.float32)
    measured = Evaluation(tuple("abcde"), np.array([0, 0, 0, 0, 0]), logits, ("x", "y"))
    assert measured.wrong().tolist() == [4, 1, 3, 0]


def test_probabilities_are_a_softmax() -> None:
    measured = example()
    assert measured.probabilities.dtype == np.float64
    assert measured.probabilities.sum(axis=1) == pytest.approx(1)
    assert (measured.confidences == measured.probabilities.max(axis=1)).all()
