"""Transfer learning: the head on frozen features first (the probe), then what is worth fine-tuning.

In: a plan whose network has pretrained weights, and the pack. Out: a `Session` for the same loop that trains from
scratch. The probe is the run's first epoch: its head is solved for and not stepped towards, its checkpoint and its row
of the history are like any other's, so that a fine-tuning that does not beat it leaves it the best. Fine-tuning starts
from that head (LP-FT: Kumar et al., "Fine-tuning can distort pretrained features", 2022).

Where the plan keeps views, what lies below the lowest thawed stage is computed once a view and kept; the loop then runs
above it, on activations in place of pictures.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shoebox.base.progress import Progress, duration
from shoebox.base.recipe import Recipe
from shoebox.base.runtime import Runtime, derive_seed
from shoebox.data.pack import Pack, Stream
from shoebox.evaluation.calibration import fit_temperature
from shoebox.evaluation.metrics import measure
from shoebox.models import Network, Pretrained
from shoebox.models.network import freeze
from shoebox.pipeline import Pipeline
from shoebox.training.activations import Above, Activations
from shoebox.training.boundary import Boundary, cut, find_boundary
from shoebox.training.clock import UpdateClock
from shoebox.training.features import Computed, View, compute, make_trunk
from shoebox.training.finish import save_classifier
from shoebox.training.folder import write_history
from shoebox.training.head import Head, fit_head, neighbours_vote, repeated_score
from shoebox.training.loop import judge
from shoebox.training.planner import Plan
from shoebox.training.session import Session, assemble, build_network, even_weights
from shoebox.training.state import TrainState, checkpoints, save_checkpoint

FEW = 1_000
"""Labelled pictures up to which one split says little, so that cross-validation is reported beside it."""


def open_transfer(
    plan: Plan,
    runtime: Runtime,
    packed: Pack | Stream,
    folder: Path,
    *,
    cache: Path | None,
    progress: Progress,
    on_epoch: Callable[[dict[str, float]], None] | None,
) -> Session:
    """Fit the probe and save it as the run's classifier; then make ready to fine-tune, or to go on with it.

    Args:
        plan: with nothing left open (`plan_transfer`).
        folder: the run's; where it holds a checkpoint, the probe has been fitted and is not fitted again.
        cache: where features and activations are kept.
    """
    recipe, index, store = plan.recipe, packed.index, folder / "checkpoints"
    torch.manual_seed(derive_seed(recipe.seed, "weights"))
    network = build_network(recipe, len(index.classes), plan.preprocess.size, progress)
    assert isinstance(network, Pretrained)
    freeze(network, recipe.trainable or "all")
    pipeline = Pipeline(network, plan.preprocess).place(runtime.device).eval()
    with torch.no_grad():
        sample = pipeline.inputs(few_pictures(packed, 4).to(runtime.device))
    arithmetic = recipe.feature_precision if recipe.feature_precision != "auto" else runtime.precision
    trunk = make_trunk(pipeline, dataclasses.replace(runtime, precision=arithmetic), sample)
    boundary = find_boundary(network, frozen_stages(network), sample) if recipe.views else None
    rows = {part: np.flatnonzero(index.part == part) for part in ("train", "val")}
    started = time.monotonic()
    fresh = not checkpoints(store)
    seen = np.sort(np.concatenate([rows["train"], rows["val"]])) if fresh or boundary is not None else rows["val"][:0]
    plain = compute(trunk, packed, seen, boundary=boundary, cache=cache, progress=progress)
    history: list[dict[str, float]] = []
    if fresh:
        train, val = plain.of(rows["train"]), plain.of(rows["val"])
        weights = even_weights(index.labels[rows["train"]], len(index.classes))[index.labels[rows["train"]]]
        balanced = "balanced" in (recipe.sampling, recipe.class_weights)
        head = fit_head(
            train,
            index.labels[rows["train"]],
            len(index.classes),
            seed=recipe.seed,
            weights=weights if balanced else None,
        )
        head.put_into(network.head)
        row = _row(head, train, index.labels[rows["train"]], val, index.labels[rows["val"]])
        seconds = time.monotonic() - started
        row |= {"lr": 0.0, "seconds": seconds, "pictures_per_second": len(rows["train"]) / seconds}
        history.append(row)
        _keep_probe(network, plan, folder, packed, runtime, row, head, val, rows["val"])
        _tell(head, train, val, packed, rows, row, recipe, plain.rate, folder, progress)
    tables = [plain]
    views = recipe.views or 1
    if boundary is not None and (recipe.epochs or 2) > 1:
        for number in range(1, views):
            view = View(number, recipe.augment or (), recipe.seed)
            tables.append(
                compute(trunk, packed, rows["train"], view=view, boundary=boundary, cache=cache, progress=progress)
            )
    session = _session(plan, runtime, pipeline, packed, store, progress, boundary, tables)
    session.clock = UpdateClock(max(1, ((recipe.epochs or 2) - 1) * session.steps))
    if fresh:
        state = session.state
        state.epoch = 1
        judge(history[0], state, recipe)
        state.history.append(history[0])
        save_checkpoint(store, state, session.parts)
        write_history(folder, state.history)
        if on_epoch:
            on_epoch(history[0])
    return session


def few_pictures(packed: Pack | Stream, count: int) -> torch.Tensor:
    """Stored pictures (n, 3, S, S) uint8 from all over the pack."""
    rows = np.linspace(0, len(packed) - 1, min(count, len(packed))).astype(np.int64)
    return torch.from_numpy(packed.gather(rows)).permute(0, 3, 1, 2)


def frozen_stages(network: Network) -> int:
    """How many of a network's stages, from the input upward, have nothing that trains."""
    stages = network.stages()
    for count, (_, stage) in enumerate(stages):
        if any(p.requires_grad for p in stage.parameters()):
            return count
    return len(stages)


def _session(
    plan: Plan,
    runtime: Runtime,
    pipeline: Pipeline,
    packed: Pack | Stream,
    store: Path,
    progress: Progress,
    boundary: Boundary | None,
    tables: list[Computed],
) -> Session:
    """Over activations where there is a boundary, else over pictures."""
    network = pipeline.network
    if boundary is None:
        return assemble(plan, runtime, pipeline, packed, store, progress)
    assert isinstance(network, Pretrained)
    kept = [table.activations for table in tables if table.activations is not None]
    taken = cut(network, boundary)
    above = Above(network, plan.preprocess, boundary.shape).place(runtime.device)
    # What the pictures were augmented with is in the views already.
    bare = dataclasses.replace(plan, recipe=plan.recipe.override({"augment": ()}))
    activations = Activations(packed.index, kept, tables[0].numbers)
    return assemble(bare, runtime, above, activations, store, progress, views=len(kept), mend=taken.mend)


def _row(
    head: Head, train: torch.Tensor, labels: NDArray[np.int64], val: torch.Tensor, truth: NDArray[np.int64]
) -> dict[str, float]:
    row: dict[str, float] = {"epoch": 1}
    row |= {f"train_{name}": value for name, value in measure(labels, head.logits(train).numpy()).items()}
    if len(truth):
        row |= {f"val_{name}": value for name, value in measure(truth, head.logits(val).numpy()).items()}
    return row


def _keep_probe(
    network: Pretrained,
    plan: Plan,
    folder: Path,
    packed: Pack | Stream,
    runtime: Runtime,
    row: dict[str, float],
    head: Head,
    val: torch.Tensor,
    rows: NDArray[np.int64],
) -> None:
    """Save the probe as the run's classifier, calibrated, before anything else is tried."""
    state = TrainState(epoch=1, best_epoch=1, history=[row])
    data, classes = packed.index.fingerprint(), packed.index.classes
    classifier = save_classifier(network, plan, folder, state, data, classes, runtime)
    if len(rows):
        temperature = fit_temperature(packed.index.labels[rows], head.logits(val).numpy())
        classifier.pipeline.temperature.fill_(temperature)
        classifier.save(folder)


def _tell(
    head: Head,
    train: torch.Tensor,
    val: torch.Tensor,
    packed: Pack | Stream,
    rows: dict[str, NDArray[np.int64]],
    row: dict[str, float],
    recipe: Recipe,
    rate: float,
    folder: Path,
    progress: Progress,
) -> None:
    """Say what the probe reached, and how sure that is."""
    index, classes = packed.index, len(packed.index.classes)
    labels = index.labels[rows["train"]]
    source = f"features at {rate:,.0f} pictures/s" if rate else "features from the cache"
    reached = f"accuracy in cross-validation {head.held_out:.3f}"
    if len(rows["val"]):
        vote = neighbours_vote(train, labels, val, classes, seed=recipe.seed)
        agree = float((vote == index.labels[rows["val"]]).mean())
        reached = (
            f"val accuracy {row['val_accuracy']:.4f} macro F1 {row['val_macro_f1']:.4f} "
            f"(a vote of nearest neighbours: {agree:.4f})"
        )
    progress.say(f"probe | {reached} | {duration(row['seconds'])}, {source} | saved in {folder}")
    if len(labels) + len(rows["val"]) <= FEW:
        both = np.concatenate([rows["train"], rows["val"]])
        mean, spread = repeated_score(
            torch.cat([train, val]), index.labels[both], classes, head.strength, seed=recipe.seed
        )
        progress.say(
            f"few pictures, so one split says little: 5 times 5-fold cross-validation of the probe over all "
            f"{len(both)} gives accuracy {mean:.3f} ± {spread:.3f}"
        )
        row |= {"cv_accuracy": mean, "cv_spread": spread}
