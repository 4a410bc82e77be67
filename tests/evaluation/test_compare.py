import json
from dataclasses import replace

import numpy as np
import pytest

from shoebox.base.errors import UsageError
from shoebox.evaluation.compare import compare
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.metrics import measure


def made(share_right, rows=1000, seed=0, classes=("a", "b", "c")):
    """An evaluation that is right on about that share; its labels are the same for every seed."""
    labels = np.arange(rows) % len(classes)
    random = np.random.default_rng(seed)
    said = np.where(random.random(rows) < share_right, labels, (labels + 1) % len(classes))
    logits = np.eye(len(classes))[said] * (1 + random.random((rows, 1)))
    paths = tuple(f"{i}.png" for i in range(rows))
    return Evaluation(paths, labels, logits.astype(np.float32), classes, part="test")


def test_two_of_a_kind_do_not_differ():
    pair = compare({"one": made(0.9, seed=1), "two": made(0.9, seed=2)}).pairs[0]
    assert not pair.significant
    assert pair.verdict.startswith("no significant difference between one and two: accuracy ")
    assert pair.differences["accuracy"].low < 0 < pair.differences["accuracy"].high


def test_the_better_one_is_named_with_how_much():
    weak, strong = made(0.8, seed=1), made(0.92, seed=2)
    pair = compare({"weak": weak, "strong": strong}).pairs[0]
    gain = 100 * (strong.metrics()["accuracy"] - weak.metrics()["accuracy"])
    assert pair.verdict.startswith(f"strong is better than weak: accuracy {gain:+.2f} points (95 % interval +")
    assert pair.differences["accuracy"].low > 0 > pair.differences["log_loss"].high
    assert compare({"strong": strong, "weak": weak}).pairs[0].verdict.startswith("weak is worse than strong")


def test_what_became_right_and_wrong_the_surest_first():
    one, two = made(0.8, seed=1), made(0.9, seed=2)
    pair = compare({"one": one, "two": two}).pairs[0]
    for paths, right in ((pair.newly_right, True), (pair.newly_wrong, False)):
        rows = [int(path.removesuffix(".png")) for path in paths]
        assert rows
        assert ((two.predictions == two.labels)[rows] == right).all()
        assert ((one.predictions == one.labels)[rows] != right).all()
        assert (np.diff(two.confidences[rows]) <= 0).all()
    gained = (len(pair.newly_right) - len(pair.newly_wrong)) / 1000
    assert gained == pytest.approx(pair.differences["accuracy"].value)


def test_paired_intervals_are_narrower_than_the_figures_own():
    one = made(0.8)
    flipped = one.logits.copy()
    flipped[:20] = np.roll(flipped[:20], 1, axis=1)  # all but 20 of 1,000 answers stay
    result = compare({"one": one, "two": replace(one, logits=flipped)})
    own, paired = result.figures["one"]["accuracy"], result.pairs[0].differences["accuracy"]
    assert paired.high - paired.low < (own.high - own.low) / 2


def test_pictures_are_matched_by_path_and_classes_by_name():
    one = made(0.9, rows=300)
    order, columns = np.random.default_rng(0).permutation(300)[:200], [2, 0, 1]
    two = Evaluation(
        tuple(one.paths[i] for i in order),
        np.argsort(columns)[one.labels[order]],
        one.logits[order][:, columns],
        tuple(one.classes[i] for i in columns),
    )
    result = compare({"one": one, "two": two})
    assert result.pictures == 200
    assert result.pairs[0].p == 1
    assert result.pairs[0].differences["log_loss"].value == pytest.approx(0, abs=1e-12)
    inside = np.sort(order)
    assert result.figures["one"]["accuracy"].value == measure(one.labels[inside], one.logits[inside])["accuracy"]


def test_a_chain_holds_each_against_the_one_before():
    three = {name: made(share, seed=i) for i, (name, share) in enumerate([("a", 0.7), ("b", 0.8), ("c", 0.9)])}
    assert [(p.name, p.against) for p in compare(three).pairs] == [("b", "a"), ("c", "a")]
    assert [(p.name, p.against) for p in compare(three, chain=True).pairs] == [("b", "a"), ("c", "b")]


def test_what_cannot_be_compared_is_refused():
    one = made(0.9, rows=30)
    with pytest.raises(UsageError, match="name two"):
        compare({"one": one})
    with pytest.raises(UsageError, match="same classes"):
        compare({"one": one, "two": made(0.9, rows=30, classes=("a", "b", "d"))})
    with pytest.raises(UsageError, match="no picture in common"):
        compare({"one": one, "two": replace(one, paths=tuple("x" + p for p in one.paths))})
    with pytest.raises(UsageError, match="30 pictures have another label in two"):
        compare({"one": one, "two": replace(one, labels=(one.labels + 1) % 3)})


def test_tables_and_json():
    result = compare({"one": made(0.9), "two": made(0.8, seed=3)}, costs={"one": {"MB": 3.2}, "two": {"MB": 4}})
    assert result.rows()[0]["figure"] == "accuracy"
    assert result.rows()[-1] == {"figure": "MB", "one": "3.2", "two": "4"}
    plain = json.loads(json.dumps(result.to_dict()))
    assert plain["pairs"][0]["significant"] is True
    assert plain["runs"]["one"]["figures"]["accuracy"].keys() == {"value", "low", "high"}
