"""The head on frozen features: what chooses its strength, how it scores few pictures."""

import numpy as np
import pytest
import torch

from shoebox.training import head as module
from shoebox.training.head import STRENGTHS, fit_head, folds, neighbours_vote, repeated_score


def clouds(pictures, classes=3, width=20, noise=1.0, seed=0):
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(classes, width))
    labels = np.arange(pictures) % classes
    return torch.from_numpy(centres[labels] + noise * draw.normal(size=(pictures, width))).float(), labels


def test_it_is_the_solution_that_scikit_learn_finds():
    linear = pytest.importorskip("sklearn.linear_model")
    features, labels = clouds(300)
    head = fit_head(features, labels, 3)
    assert head.strength in STRENGTHS
    mean, deviation = features.mean(0), features.std(0, unbiased=False)
    standard = ((features - mean) / deviation).double().numpy()
    other = linear.LogisticRegression(C=1 / (head.strength * len(labels)), tol=1e-8, max_iter=2000).fit(
        standard, labels
    )
    ours = head.logits(features).double().softmax(1).numpy()
    np.testing.assert_allclose(ours, other.predict_proba(standard), atol=2e-3)


def test_pure_noise_is_held_down_and_clean_classes_are_let_go():
    noise = torch.randn(200, 50, generator=torch.Generator().manual_seed(0))
    random = np.random.default_rng(0).integers(0, 2, 200)
    clean, labels = clouds(200, noise=0.2)
    assert fit_head(noise, random, 2).strength > fit_head(clean, labels, 3).strength
    assert fit_head(clean, labels, 3).held_out == 1.0


def test_more_features_than_pictures_are_rotated_without_a_difference(monkeypatch):
    features, labels = clouds(40, width=100)
    fast = fit_head(features, labels, 3)
    monkeypatch.setattr(module, "_rotated", lambda x: x)
    plain = fit_head(features, labels, 3)
    assert fast.strength == plain.strength
    torch.testing.assert_close(fast.logits(features), plain.logits(features), atol=2e-2, rtol=0)


def test_a_start_on_some_of_the_pictures_leads_to_the_same_head(monkeypatch):
    features, labels = clouds(600, noise=1.5)
    whole = fit_head(features, labels, 3)
    monkeypatch.setattr(module, "MOST", 300)
    warm = fit_head(features, labels, 3)
    if warm.strength == whole.strength:
        torch.testing.assert_close(warm.logits(features), whole.logits(features), atol=2e-2, rtol=0)
    assert (warm.logits(features).argmax(1) == whole.logits(features).argmax(1)).float().mean() > 0.97


def test_repeated_cross_validation_of_five_pictures_a_class():
    features, labels = clouds(15, noise=0.3)
    mean, spread = repeated_score(features, labels, 3, 1.0)
    assert mean == 1.0 and spread == 0.0
    mean, spread = repeated_score(*clouds(15, noise=3.0), 3, 1.0)
    assert 0 < mean < 1 and spread > 0


def test_folds_spread_every_class():
    labels = np.repeat([0, 1, 2], [5, 10, 25])
    fold = folds(labels, 5, np.random.default_rng(0))
    for k in range(5):
        assert np.bincount(labels[fold == k], minlength=3).tolist() == [1, 2, 5]


def test_neighbours_agree_with_clean_classes():
    features, labels = clouds(60, noise=0.2)
    assert (neighbours_vote(features[:40], labels[:40], features[40:], 3) == labels[40:]).all()
