"""Transfer learning: the head on frozen features first (the probe), then what is worth fine-tuning.

In: a plan whose network has pretrained weights, and the pack. Out: a `Session` for the same loop that trains from
scratch. The probe is the run's first epoch: its head is solved for and not stepped towards, its checkpoint and its row
of the history are like any other's, so that a fine-tuning that does not beat it leaves it the best. Fine-tuning starts
from that head (LP-FT: Kumar et al., "Fine-tuning can distort pretrained features", 2022).

What lies below the lowest thawed stage is computed by a folded copy without gradients; where the plan keeps views, once
a view and never again. The loop then runs above it, on activations in place of pictures.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from shoebox.base.progress import Progress
from shoebox.base.recipe import MONITORS, Recipe
from shoebox.base.runtime import Runtime, derive_seed
from shoebox.data.index import ImageIndex
from shoebox.data.pack import Pack, Stream
from shoebox.models import Pretrained
from shoebox.models.network import freeze
from shoebox.pipeline import Pipeline
from shoebox.training.activations import Above, Activations, Through
from shoebox.training.boundary import cut, find_boundary
from shoebox.training.clock import FirstClock, TimeClock, UpdateClock
from shoebox.training.features import Trunk, View, compute, make_trunk
from shoebox.training.folder import write_down, write_history
from shoebox.training.loop import judge
from shoebox.training.planner import Plan
from shoebox.training.probe import fit_probe
from shoebox.training.probe_plan import few_pictures, plan_probe, with_precision
from shoebox.training.session import Session, assemble, build_network
from shoebox.training.state import checkpoints, save_checkpoint
from shoebox.training.transfer_plan import frozen_stages, plan_tuning


def open_transfer(
    plan: Plan,
    open_recipe: Recipe,
    index: ImageIndex,
    packed: Pack | Stream,
    folder: Path,
    runtime: Runtime,
    *,
    end: float | None,
    reserve: Callable[[Pipeline, Pack | Stream], float] | None,
    cache: Path | None,
    progress: Progress,
    on_epoch: Callable[[dict[str, float]], None] | None,
) -> tuple[Plan, Session]:
    """Fit the probe and save it as the run's classifier; then plan the fine-tuning and make ready for it.

    Args:
        plan: of a recipe with pretrained weights; what `open_recipe` leaves open is decided here.
        index: of all files, for the run's record.
        folder: the run's; where it holds a checkpoint, the probe has been fitted and all is decided.
        end: when everything must be over, on `time.monotonic`; None: no limit.
        reserve: measures how many of those seconds the caller needs once training is over.
        cache: where features and activations are kept.

    Returns:
        the plan with nothing left open, and the session, its clock set.
    """
    store = folder / "checkpoints"
    fresh = not checkpoints(store)
    torch.manual_seed(derive_seed(plan.recipe.seed, "weights"))
    network = build_network(plan.recipe, len(packed.index.classes), plan.preprocess.size, progress)
    assert isinstance(network, Pretrained)
    left = None if end is None else end - time.monotonic()
    trunk = None
    if fresh:
        plan, trunk = plan_probe(plan, open_recipe, network, packed, runtime, left, cache=cache, progress=progress)
    pipeline = Pipeline(network, plan.preprocess).place(runtime.device).eval()
    with torch.no_grad():
        sample = pipeline.inputs(few_pictures(packed, 4).to(runtime.device))
    trunk = trunk or make_trunk(pipeline, with_precision(runtime, plan.recipe.feature_precision), sample)
    if end is not None and reserve:
        end -= reserve(pipeline, packed)
    row: dict[str, float] = {}
    if fresh:
        skipped = (*index.skipped, *packed.skipped)
        write_down(folder, plan, index, skipped)
        row = fit_probe(network, trunk, plan, packed, folder, runtime, cache=cache, progress=progress)
        left = None if end is None else end - time.monotonic()
        plan = plan_tuning(plan, open_recipe, pipeline, trunk, packed, runtime, left, progress=progress)
        write_down(folder, plan, index, skipped)
    freeze(network, plan.recipe.trainable or "all")
    session = open_tuning(plan, pipeline, trunk, packed, runtime, sample, store, cache=cache, progress=progress)
    steps = UpdateClock(max(1, ((plan.recipe.epochs or 2) - 1) * session.steps))
    session.clock = steps
    if end is not None:
        used = session.state.elapsed
        session.clock = FirstClock((TimeClock(time.monotonic(), end - used, used), steps))
    if fresh:
        session.state.epoch = 1
        judge(row, session.state, plan.recipe)
        session.state.history.append(row)
        save_checkpoint(store, session.state, session.parts)
        write_history(folder, session.state.history)
        if on_epoch:
            on_epoch(row)
    return plan, session


def open_tuning(
    plan: Plan,
    pipeline: Pipeline,
    trunk: Trunk,
    packed: Pack | Stream,
    runtime: Runtime,
    sample: torch.Tensor,
    store: Path,
    *,
    cache: Path | None,
    progress: Progress,
) -> Session:
    """A session over activations where the network can be cut at its frozen boundary, else over the whole network."""
    network, recipe = pipeline.network, plan.recipe
    assert isinstance(network, Pretrained)
    runtime = with_precision(runtime, recipe.precision)
    frozen = frozen_stages(network)
    boundary = find_boundary(network, frozen, sample) if frozen else None
    if boundary is None:
        return assemble(plan, runtime, pipeline, packed, store, progress)
    if not recipe.views:
        through = Through(trunk, network, boundary, plan.preprocess)
        taken = cut(network, boundary)
        return assemble(plan, runtime, through.place(runtime.device), packed, store, progress, mend=taken.mend)
    rows = {part: np.flatnonzero(packed.index.part == part) for part in ("train", "val")}
    tables, numbers = [], None
    for number in range(recipe.views if (recipe.epochs or 2) > 1 else 1):
        view = View(number, recipe.augment or (), recipe.seed)
        seen = rows["train"] if number else np.sort(np.concatenate([rows["train"], rows["val"]]))
        computed = compute(trunk, packed, seen, view=view, boundary=boundary, cache=cache, progress=progress)
        tables.append(computed.table)
        numbers = computed.numbers
    assert numbers is not None
    taken = cut(network, boundary)
    above = Above(network, plan.preprocess, boundary.shape).place(runtime.device)
    # What the pictures were augmented with is in the views already.
    bare = dataclasses.replace(plan, recipe=recipe.override({"augment": ()}))
    activations = Activations(packed.index, tables, numbers)
    return assemble(bare, runtime, above, activations, store, progress, views=len(tables), mend=taken.mend)


def outcome(session: Session) -> str:
    """Whether fine-tuning beat the probe, in one line."""
    state, name = session.state, session.recipe.monitor
    probe, passes = state.history[0], state.epoch - 1
    key = f"val_{name}"
    if not passes:
        return "the probe is the classifier"
    if key not in probe:
        return f"fine-tuned for {passes} passes; without validation pictures nobody can say whether that beat the probe"
    tuned = [row[key] for row in state.history[1:]]
    best = max(tuned) if MONITORS[name] > 0 else min(tuned)
    words = name.replace("_", " ")
    if state.best_epoch == 1:
        return (
            f"fine-tuning did not beat the probe (val {words} {best:.4f} against {probe[key]:.4f}): the probe is kept"
        )
    return f"fine-tuning beat the probe: val {words} {best:.4f} against {probe[key]:.4f}"
