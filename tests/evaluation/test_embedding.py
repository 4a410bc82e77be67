"""Maps that repeat, show what they should and survive few or odd pictures; neighbours as by brute force."""

import importlib.util

import numpy as np
import pytest

from shoebox.base.errors import MissingExtra, UsageError
from shoebox.evaluation.embedding import by_share, choose, make_map, nearest
from shoebox.evaluation.evaluation import Evaluation


def scored(rows: int, wrong: int = 0, classes: int = 3) -> Evaluation:
    """`rows` pictures in heaps by class, the first `wrong` of them taken for the next class."""
    random = np.random.default_rng(0)
    labels = np.arange(rows) % classes
    features = (np.eye(classes)[labels] * 10).repeat(2, axis=1) + random.normal(size=(rows, 2 * classes))
    logits = np.eye(classes, dtype=np.float32)[np.where(np.arange(rows) < wrong, (labels + 1) % classes, labels)] * 5
    return Evaluation(
        tuple(map(str, range(rows))), labels, logits, tuple("abcdefghij"[:classes]), features.astype(np.float16)
    )


def test_like_lies_with_like_and_the_map_repeats() -> None:
    evaluation = scored(150)
    made, again = make_map(evaluation), make_map(evaluation)
    np.testing.assert_array_equal(made.places, again.places)
    assert made.rows.tolist() == list(range(150)) and made.total == 150
    assert made.places.min() == 0 and made.places.max() == 1
    near = nearest(made.places - made.places.mean(0), made.places - made.places.mean(0), 2)[0]
    distances = np.linalg.norm(made.places[:, None] - made.places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert np.mean(evaluation.labels[distances.argmin(1)] == evaluation.labels) > 0.98
    assert near.shape == (150, 2)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 5])
def test_few_pictures(rows: int) -> None:
    made = make_map(scored(rows))
    assert made.places.shape == (rows, 2)
    assert np.isfinite(made.places).all()


def test_equal_features() -> None:
    evaluation = scored(20)
    same = Evaluation(
        evaluation.paths, evaluation.labels, evaluation.logits, evaluation.classes, np.ones((20, 4), np.float16)
    )
    assert np.isfinite(make_map(same).places).all()


def test_mistakes_come_first_and_classes_by_their_share() -> None:
    evaluation = scored(900, wrong=40)
    rows = choose(evaluation, 300)
    assert len(rows) == len(set(rows.tolist())) == 300
    assert set(range(40)) <= set(rows.tolist())
    right = rows[rows >= 40]
    assert np.ptp(np.bincount(evaluation.labels[right])) <= 1
    many = choose(scored(900, wrong=800), 300)
    assert (many < 800).sum() == 200  # two thirds at most


def test_every_beginning_holds_each_group_by_its_share() -> None:
    groups = np.array([0] * 60 + [1] * 30 + [2] * 10)
    for count in (10, 20, 50, 100):
        assert np.bincount(groups[by_share(groups, count)]).tolist() == [
            0.6 * count,
            0.3 * count,
            0.1 * count,
        ]
    assert len(by_share(groups[:0], 5)) == 0


def test_nearest_is_as_by_brute_force() -> None:
    random = np.random.default_rng(0)
    one, two = random.normal(size=(40, 6)), random.normal(size=(25, 6))
    rows, likeness = nearest(one, two, 4)
    full = (one / np.linalg.norm(one, axis=1)[:, None]) @ (two / np.linalg.norm(two, axis=1)[:, None]).T
    np.testing.assert_array_equal(rows, np.argsort(-full, axis=1)[:, :4])
    np.testing.assert_allclose(likeness, np.sort(full, axis=1)[:, ::-1][:, :4], atol=1e-6)
    assert nearest(one, two[:2], 4)[0].shape == (40, 2)
    assert nearest(one, two[:0], 4)[0].shape == (40, 0)


def test_what_cannot_be_mapped() -> None:
    evaluation = scored(10)
    bare = Evaluation(evaluation.paths, evaluation.labels, evaluation.logits, evaluation.classes)
    with pytest.raises(UsageError, match="no features"):
        make_map(bare)
    with pytest.raises(UsageError, match="tsne, umap"):
        make_map(evaluation, "pca")  # type: ignore[arg-type]


@pytest.mark.skipif(importlib.util.find_spec("umap") is not None, reason="umap-learn is installed")
def test_umap_names_its_extra() -> None:
    with pytest.raises(MissingExtra, match="umap"):
        make_map(scored(10), "umap")
