from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.neighbors import NearestNeighbors

from shoebox.base.errors import UsageError
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.novelty import METHODS, fit_novelty, roc


def drawn(rows, seed, foreign=False):
    """Features in three heaps; foreign ones in a fourth, which no logit answers to."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, rows)
    heaps = np.eye(8)[labels + (3 if foreign else 0)] * 4
    features = (heaps + random.normal(size=(rows, 8))).astype(np.float16)
    logits = features[:, :3].astype(np.float32) * 2
    return Evaluation(tuple(map(str, range(rows))), labels, logits, ("a", "b", "c"), features)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_foreign_is_found(method):
    novelty = fit_novelty(drawn(400, 0), method, false_alarms=0.1)
    known, foreign = drawn(400, 1), drawn(300, 2, foreign=True)
    assert roc(novelty.scores(known), novelty.scores(foreign)).auroc > 0.95
    assert novelty.foreign(known).mean() == pytest.approx(0.1, abs=0.06)
    assert novelty.foreign(foreign).mean() > 0.8


def test_the_distance_is_that_to_the_kth_neighbour():
    validation, other = drawn(50, 0), drawn(30, 1)
    found = fit_novelty(validation, "knn", neighbours=4)

    def unit(evaluation):
        features = evaluation.features.astype(np.float64)
        return features / np.linalg.norm(features, axis=1, keepdims=True)

    near = NearestNeighbors(n_neighbors=5).fit(unit(validation))
    np.testing.assert_allclose(found.scores(other), near.kneighbors(unit(other))[0][:, 3], atol=1e-3)
    own = near.kneighbors(unit(validation))[0][:, 4]  # the nearest is the picture itself
    assert found.threshold == pytest.approx(np.quantile(own, 0.95), abs=1e-3)


def test_of_a_large_validation_part_some_are_the_bank(monkeypatch):
    monkeypatch.setattr("shoebox.evaluation.novelty.BANK", 300)
    novelty = fit_novelty(drawn(2_000, 0), "knn", false_alarms=0.1)
    known, foreign = drawn(1_000, 1), drawn(300, 2, foreign=True)
    assert novelty.bank.shape == (300, 8)
    assert novelty.foreign(known).mean() == pytest.approx(0.1, abs=0.03)
    assert roc(novelty.scores(known), novelty.scores(foreign)).auroc > 0.95


def test_the_roc_equals_scikit_learns():
    random = np.random.default_rng(0)
    known, foreign = random.normal(size=200).round(1), random.normal(0.8, size=150).round(1)
    found = roc(known, foreign)
    truth, scores = np.repeat([0, 1], [200, 150]), np.concatenate([known, foreign])
    assert found.auroc == pytest.approx(roc_auc_score(truth, scores), rel=1e-12)
    expected = roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(found.false_alarms, expected[0])
    np.testing.assert_allclose(found.found, expected[1])


def test_what_cannot_be_scored_is_said():
    bare = replace(drawn(20, 0), features=None)
    with pytest.raises(UsageError, match="kept no features"):
        fit_novelty(bare)
    assert len(fit_novelty(bare, "energy").scores(bare)) == 20
    with pytest.raises(UsageError, match="both, energy, knn"):
        fit_novelty(bare, "odin")
    with pytest.raises(UsageError, match="too few"):
        fit_novelty(drawn(1, 0))
    with pytest.raises(ValueError, match="0 foreign"):
        roc(np.ones(3), np.ones(0))
