"""The probe: a head fitted to the features of a frozen network, saved as a classifier before anything else is tried.

In: a network with trained weights, and the pack. Out: the network with the fitted head in place, the run's folder
holding a usable classifier, and the figures of what is the run's first epoch. The training part alone decides the head;
validation is only scored.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shoebox.base.progress import Progress, duration
from shoebox.base.runtime import Runtime
from shoebox.data.pack import Pack, Stream
from shoebox.evaluation.calibration import fit_temperature
from shoebox.evaluation.metrics import measure
from shoebox.models import Pretrained
from shoebox.training.features import Trunk, compute
from shoebox.training.finish import save_classifier
from shoebox.training.head import Head, fit_head, neighbours_vote, repeated_score
from shoebox.training.planner import Plan
from shoebox.training.probe_plan import probed_rows
from shoebox.training.session import even_weights
from shoebox.training.state import TrainState

FEW = 1_000
"""Labelled pictures up to which one split says little, so that cross-validation is reported beside it."""


@dataclass(frozen=True)
class Part:
    """The pictures of one part: rows of the pack, labels (N,), features (N, D) float32."""

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    features: torch.Tensor


def fit_probe(
    network: Pretrained,
    trunk: Trunk,
    plan: Plan,
    packed: Pack | Stream,
    folder: Path,
    runtime: Runtime,
    *,
    cache: Path | None,
    progress: Progress,
) -> dict[str, float]:
    """Fit the head, put it into `network`, save the classifier in `folder`, and say what it reached.

    Returns:
        the row of the history: epoch 1.
    """
    started = time.monotonic()
    index = packed.index
    rows = probed_rows(index, plan.recipe)
    seen = compute(trunk, packed, np.sort(np.concatenate([*rows.values()])), cache=cache, progress=progress)
    train, val = (Part(rows[part], index.labels[rows[part]], seen.of(rows[part])) for part in ("train", "val"))
    classes = len(index.classes)
    weights = None
    if "balanced" in (plan.recipe.sampling, plan.recipe.class_weights):
        weights = even_weights(train.labels, classes)[train.labels]
    head = fit_head(train.features, train.labels, classes, seed=plan.recipe.seed, weights=weights)
    head.put_into(network.head)
    row: dict[str, float] = {"epoch": 1}
    for name, part in (("train", train), ("val", val)):
        if len(part.rows):
            figures = measure(part.labels, head.logits(part.features).numpy())
            row |= {f"{name}_{key}": value for key, value in figures.items()}
    row |= {"lr": 0.0, "seconds": time.monotonic() - started}
    row["pictures_per_second"] = len(train.rows) / row["seconds"]
    if len(train.rows) + len(val.rows) <= FEW:
        both = (torch.cat([train.features, val.features]), np.concatenate([train.labels, val.labels]))
        row["cv_accuracy"], row["cv_spread"] = repeated_score(*both, classes, head.strength, seed=plan.recipe.seed)
    _keep(network, plan, folder, packed, runtime, row, head, val)
    labelled = int(((index.part == "train") & (index.labels >= 0)).sum())
    if len(train.rows) < labelled:
        progress.say(f"probe | learnt from {len(train.rows):,} of the {labelled:,} training pictures")
    progress.say(f"probe | {_reached(head, train, val, row, classes, plan.recipe.seed)}")
    source = f"features at {seen.rate:,.0f} pictures/s" if seen.rate else "features from the cache"
    progress.say(f"      | {duration(time.monotonic() - started)}, {source} | a classifier is saved in {folder}")
    return row


def _keep(
    network: Pretrained,
    plan: Plan,
    folder: Path,
    packed: Pack | Stream,
    runtime: Runtime,
    row: dict[str, float],
    head: Head,
    val: Part,
) -> None:
    """Save the probe as the run's classifier, calibrated."""
    state = TrainState(epoch=1, best_epoch=1, history=[row])
    data, classes = packed.index.fingerprint(), packed.index.classes
    classifier = save_classifier(network, plan, folder, state, data, classes, runtime)
    if len(val.rows):
        classifier.pipeline.temperature.fill_(fit_temperature(val.labels, head.logits(val.features).numpy()))
        classifier.save(folder)


def _reached(head: Head, train: Part, val: Part, row: dict[str, float], classes: int, seed: int) -> str:
    """What the probe reached, and how sure that is."""
    said = []
    if len(val.rows):
        vote = neighbours_vote(train.features, train.labels, val.features, classes, seed=seed)
        said += [
            f"val accuracy {row['val_accuracy']:.4f} macro F1 {row['val_macro_f1']:.4f} "
            f"(nearest neighbours: {float((vote == val.labels).mean()):.4f})"
        ]
    if "cv_accuracy" in row:
        said += [f"few pictures: 5 × 5-fold cross-validation {row['cv_accuracy']:.3f} ± {row['cv_spread']:.3f}"]
    elif not len(val.rows):
        said += [f"accuracy on held-out training pictures {head.held_out:.4f}"]
    return " | ".join(said)
