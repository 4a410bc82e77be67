"""What a network makes of a data set that is being checked: features, and probabilities out of fold.

In: labelled pictures, and perhaps weights. Out: a `Learnt` for the checks that need one. A probe on features answers
for the pictures of one fold having learnt from the others. The features are those of a backbone, where weights are
given or on this disk, and where pictures are small and many, also those of a network that has glanced at them
(`glance`). Where there is neither, whole networks are trained, each without the pictures it is asked about.
"""

from __future__ import annotations

import functools
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from shoebox.base.progress import QUIET, Progress
from shoebox.base.recipe import Recipe
from shoebox.base.runtime import choose_runtime
from shoebox.data.check import Learnt
from shoebox.data.index import UNLABELLED, ImageIndex
from shoebox.data.pack import pack
from shoebox.data.preprocess import Interpolation, Preprocess
from shoebox.evaluation.learning_curve import measure_curve
from shoebox.evaluation.neighbours import directions, nearest
from shoebox.evaluation.probe import out_of_fold, predicted
from shoebox.models import Pretrained, build_pretrained, expected_input, find_architecture, guess_architecture
from shoebox.models.backbones import PRETRAINED
from shoebox.models.hub import on_disk
from shoebox.pipeline import Pipeline
from shoebox.training.features import Trunk, compute, faster_trunk, make_trunk
from shoebox.training.fit import fit
from shoebox.training.glance import glance
from shoebox.training.planner import usual_side

FOLDS = 5
NETWORKS = 2
"""Folds where whole networks are trained."""
SIDES = (224, 192, 160, 128, 96)
SECONDS = 150.0
"""What computing a backbone's features may take; a smaller side is chosen where it would take longer."""
MANY, SMALL = 10_000, 64
"""Pictures from which on a network learns enough by a glance; px up to which a backbone of larger ones misses much."""
DIRECTIONS = 256
NEIGHBOURS = 30
SETTINGS: dict[str, Any] = {"minutes": 3.0, "tensorboard": False}
"""Of the recipe `fast`, for each network that is trained."""
TIMED = 64


def learn(
    index: ImageIndex,
    groups: NDArray[np.int64],
    weights: Path | None = None,
    *,
    cache: Path | None = None,
    device: str = "auto",
    progress: Progress = QUIET,
) -> Learnt:
    """Learn from the labelled pictures of an index.

    Args:
        index: readable pictures.
        groups: (N,) pictures of one group are in one fold, so that none is judged by its own copy.
        weights: a .safetensors file of a known architecture; by default the first backbone whose weights are on this
            disk, or else networks trained here.
    """
    rows = np.flatnonzero(index.labels != UNLABELLED)
    labelled = index.take(rows)
    labelled.require_classes(2)
    labels, classes = labelled.labels, len(labelled.classes)
    backbone = guess_architecture(weights) if weights else next((b.name for b in PRETRAINED if on_disk(b.name)), None)
    parts, names, curve = [], [], None
    learner = functools.partial(predicted, classes=classes)
    if backbone is not None:
        # At once, since the features themselves take five times the memory.
        parts.append(directions(_features(labelled, backbone, weights, cache, device, progress), DIRECTIONS))
        names.append(backbone.partition(":")[2].partition(".")[0])
        curve = measure_curve(parts[0], labels, classes, learner)
    if len(labelled) >= MANY and (backbone is None or usual_side(labelled) <= SMALL):
        parts.append(directions(glance(labelled, cache=cache, device=device, progress=progress), DIRECTIONS))
        names.append("a network trained here in a few passes")
    if parts:
        features = np.concatenate(parts, 1)
        probabilities = out_of_fold(features, labels, classes, grouped_folds(labels, groups[rows], FOLDS))
        near = nearest(features, NEIGHBOURS)
        return Learnt(rows, features, *near, probabilities, f"a probe on {' and '.join(names)}", curve)
    folds = grouped_folds(labels, groups[rows], NETWORKS)
    raw, probabilities = _trained(labelled, folds, cache, device, progress)
    features = directions(raw, DIRECTIONS)
    held = np.flatnonzero(folds == folds.min())  # what the network whose features these are did not learn from
    curve = measure_curve(features[held], labels[held], classes, learner)
    how = "networks trained without the pictures they are asked about"
    return Learnt(rows, features, *nearest(features, NEIGHBOURS), probabilities, how, curve)


def grouped_folds(labels: NDArray[np.int64], groups: NDArray[np.int64], count: int, seed: int = 0) -> NDArray[np.int64]:
    """(N,) the fold of each picture: whole groups, every class spread as evenly as they allow."""
    first, inverse = np.unique(groups, return_index=True, return_inverse=True)[1:]
    order = np.random.default_rng(seed).permutation(len(first))
    fold = np.empty(len(first), np.int64)
    start = 0
    for label in np.unique(labels):
        mine = order[labels[first[order]] == label]
        fold[mine] = (start + np.arange(len(mine))) % count
        start += len(mine)
    return fold[inverse]


def _features(
    index: ImageIndex, backbone: str, weights: Path | None, cache: Path | None, device: str, progress: Progress
) -> NDArray[np.float32]:
    found = find_architecture(backbone)
    assert found is not None
    expected = expected_input(*found)
    store = min(usual_side(index), expected.size)
    runtime = choose_runtime(device)
    for side in [s for s in SIDES if s <= expected.size] or [expected.size]:
        preprocess = Preprocess(
            store, side, "squash", cast(Interpolation, expected.interpolation), expected.mean, expected.std
        )
        network = build_pretrained(*found, len(index.classes), weights=weights, download=False, size=side)
        assert isinstance(network, Pretrained)
        packed = pack(index, preprocess, cache=cache, progress=progress)
        pipeline = Pipeline(network, preprocess).place(runtime.device).eval()
        stored = torch.from_numpy(packed.gather(np.arange(min(TIMED, len(packed))))).permute(0, 3, 1, 2)
        sample = pipeline.inputs(stored[:4].to(runtime.device))
        exact = make_trunk(pipeline, replace(runtime, precision="fp32"), sample)
        trunk: Trunk = faster_trunk(exact, runtime, stored)
        if len(packed) / trunk.rate <= SECONDS:
            break
    progress.say(f"features of {len(packed):,} pictures by {backbone} at {side} px, {trunk.rate:,.0f} a second")
    everything = np.arange(len(packed))
    return compute(trunk, packed, everything, cache=cache, progress=progress).of(everything).numpy()


def _trained(
    index: ImageIndex, folds: NDArray[np.int64], cache: Path | None, device: str, progress: Progress
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Features of one network, and probabilities (N, K) of each picture from the network that did not learn from it."""
    probabilities = np.empty((len(index), len(index.classes)))
    features = np.empty((0, 0), np.float32)
    recipe = Recipe.load("fast").override(SETTINGS)
    for number in np.unique(folds).tolist():
        progress.say(f"training a network without the pictures of fold {number + 1}")
        parts = np.where(folds == number, "val", "train")
        with tempfile.TemporaryDirectory() as folder:
            classifier, packed = fit(
                index.with_part(parts), recipe, Path(folder) / "run", cache=cache, device=device, progress=progress
            )
            scored = classifier.score(packed, np.arange(len(packed)), progress=progress)
        out = folds == number
        probabilities[out] = scored.probabilities[out]
        if scored.features is not None and not features.size:
            features = scored.features.astype(np.float32)
    return features, probabilities
