"""The plan of a transfer run: picture size, frozen depth, views and passes, from what a few batches cost here.

In: a plan whose network has pretrained weights, the pack, the seconds there are. Out: the plan with nothing left open,
and three lines that say what will be done and why.

Below the frozen boundary a picture is computed once a view; above it, once a pass, forward and backward. Thawing more
teaches more and costs more: the deepest thaw that still gets `PASSES` passes is taken.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from shoebox.base.files import cache_folder
from shoebox.base.progress import Progress, duration
from shoebox.base.recipe import Recipe
from shoebox.base.runtime import Precision, Runtime
from shoebox.data.cache import room
from shoebox.data.pack import Pack, Stream
from shoebox.models import Pretrained
from shoebox.models.network import freeze
from shoebox.pipeline import Pipeline
from shoebox.training.boundary import Boundary, cut, find_boundary
from shoebox.training.features import open_trunk
from shoebox.training.planner import Plan
from shoebox.training.session import build_network
from shoebox.training.transfer import few_pictures, frozen_stages

PASSES = 4
"""Passes over the training part that a fine-tuning should get at least."""

VIEWS = 4
"""Looks at each picture that are kept, where time and room allow."""

UNHURRIED = 600.0
"""Seconds that the frozen depth is chosen for where no time is given; training then ends by patience."""

PROBE_SECONDS = 45.0
"""Where no time is given, the features of all pictures should not take longer; else smaller pictures are looked at."""

PROBE_SHARE = 0.2
"""Of a given time, for the features of the probe."""

DEPTHS = (0.0, 0.35, 0.55, 0.75)
"""Shares of the stages that may stay frozen."""

SIDES = (64, 96, 128, 160, 192, 224, 256, 288, 320, 384)


@dataclass(frozen=True)
class Depth:
    """One way to divide a network into frozen and training.

    Attributes:
        frozen: stages.
        boundary: where activations are kept; None: everything is computed in every pass.
        rate: pictures a second of forward and backward passes over what trains.
        precision: the faster arithmetic for that.
    """

    frozen: int
    boundary: Boundary | None
    rate: float
    precision: Precision


def plan_transfer(
    plan: Plan, open_recipe: Recipe, packed: Pack | Stream, runtime: Runtime, seconds: float | None, progress: Progress
) -> Plan:
    """Decide what the recipe leaves open, measuring for a few seconds.

    Args:
        open_recipe: as the person gave it, to know what is open.
        seconds: until the probe, the fine-tuning and the scores must be done; None: no limit.
    """
    recipe = plan.recipe
    train, val, test = (int((packed.index.part == part).sum()) for part in ("train", "val", "test"))
    network = build_network(recipe, len(packed.index.classes), plan.preprocess.size, progress)
    assert isinstance(network, Pretrained)
    pipeline = Pipeline(network.eval(), plan.preprocess).place(runtime.device)
    stored = few_pictures(packed, 32)
    trunk = open_trunk(pipeline, with_precision(runtime, recipe.feature_precision), stored)
    rate, precision = trunk.rate, trunk.runtime.precision
    lines = []
    if open_recipe.size is None and takes_any_size(network):
        budget = PROBE_SECONDS if seconds is None else PROBE_SHARE * seconds
        size = affordable_size(plan.preprocess.size, plan.preprocess.store, rate, train + val, budget)
        rate *= (plan.preprocess.size / size) ** 2
        plan = dataclasses.replace(plan, preprocess=dataclasses.replace(plan.preprocess, size=size))
        pipeline = Pipeline(network, plan.preprocess).place(runtime.device)
    first = (train + val) / rate
    lines.append(
        f"{plan.preprocess.size} px: the frozen network reads {rate:,.0f} pictures/s in {precision}, so the "
        f"probe looks at {train + val:,} pictures in about {duration(first)}"
    )
    chosen: dict[str, object] = {"size": plan.preprocess.size, "feature_precision": precision}
    scoring = 2.5 * (2 * val + test) / rate
    left = (UNHURRIED if seconds is None else seconds - scoring) - first
    tuned = decide(recipe, network, pipeline, packed, runtime, rate, train, left, lines)
    if seconds is None and recipe.patience is None and val:
        tuned["patience"] = max(3, int(tuned["epochs"]) // 4)  # type: ignore[call-overload]
    lines.append(
        f"{f'about {duration(max(left, 0))} for that' if seconds else 'until validation stops improving'}, at most "
        f"{int(tuned['epochs']) - 1} passes; the probe is kept if they do not beat it"  # type: ignore[call-overload]
    )
    for line in lines:
        progress.say(f"plan: {line}")
    return dataclasses.replace(plan, recipe=recipe.override({**chosen, **tuned}))


def decide(
    recipe: Recipe,
    network: Pretrained,
    pipeline: Pipeline,
    packed: Pack | Stream,
    runtime: Runtime,
    rate: float,
    train: int,
    left: float,
    lines: list[str],
) -> dict[str, object]:
    """Frozen depth, views, passes and the arithmetic of training."""
    stages = len(network.stages())
    with torch.no_grad():
        sample = pipeline.inputs(few_pictures(packed, 8).to(runtime.device))
    if recipe.trainable is None:
        frozen = sorted({round(share * stages) for share in DEPTHS})
    else:
        freeze(network, recipe.trainable)
        frozen = [frozen_stages(network)]
    options = [measured(network, count, sample, recipe, runtime) for count in frozen]
    epochs = recipe.epochs or 40
    best, views, passes = options[-1], 1, 0.0
    for option in options:
        for count in range(recipe.views or VIEWS, 0, -1):
            if option.boundary is None and count > 1:
                continue
            picture = 0 if option.boundary is None else 2 * int(np.prod(option.boundary.shape))
            fits = count * len(packed) * picture <= room(cache_folder())
            got = (left - (count - 1) * train / rate) * option.rate / train
            if fits and got > passes and passes < PASSES:
                best, views, passes = option, count, got
    whole = best.boundary is None
    trains = "all" if best.frozen == 0 else "head" if best.frozen == stages else stages - best.frozen
    kept = f", on {views} kept look{'s' if views > 1 else ''} at each" if not whole else ""
    part = {"all": "everything", "head": "the head"}.get(str(trains), f"the top {trains} of {stages} stages")
    lines.append(f"then {part} at {best.rate:,.0f} pictures/s in {best.precision}{kept}: {passes:,.1f} passes fit")
    settings: dict[str, object] = {
        "trainable": recipe.trainable if recipe.trainable is not None else trains,
        "views": 0 if whole else views,
        "precision": best.precision,
        "epochs": epochs if passes >= 1 or recipe.epochs else 1,
    }
    return settings


def measured(network: Pretrained, frozen: int, sample: torch.Tensor, recipe: Recipe, runtime: Runtime) -> Depth:
    """What training costs with so many stages frozen: one step each in the arithmetics that may serve."""
    boundary = find_boundary(network, frozen, sample) if frozen and recipe.views != 0 else None
    trial = copy.deepcopy(network)
    freeze(trial, len(trial.stages()) - frozen or "head")
    inputs = sample
    if boundary is not None:
        cut(trial, boundary)
        inputs = torch.randn(len(sample), *boundary.shape, device=sample.device)
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(len(sample), dtype=torch.int64, device=sample.device)
    choices: list[Precision] = ["fp32", runtime.precision] if recipe.precision == "auto" else [recipe.precision]
    rates: dict[Precision, float] = {}
    for precision in dict.fromkeys(choices):
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            with with_precision(runtime, precision).autocast():
                logits = trial(inputs).float()
            F.cross_entropy(logits, labels).backward()
            float(logits.detach()[0, 0])
            seconds.append(time.perf_counter() - start)
        rates[precision] = len(sample) / min(seconds)
    fastest = max(rates, key=lambda name: rates[name])
    return Depth(frozen, boundary, rates[fastest], fastest)


def affordable_size(expected: int, store: int, rate: float, pictures: int, seconds: float) -> int:
    """The largest side at which all pictures are read in so many seconds, at most the one the weights were made for.

    Pictures smaller than that are enlarged up to threefold, which pretrained filters repay.
    """
    sides = [side for side in SIDES if side < expected and side <= 3 * store] + [expected] * (3 * store >= expected)
    affordable = [side for side in sides if pictures / (rate * (expected / side) ** 2) <= seconds]
    return max(affordable, default=min(sides, default=expected))


def takes_any_size(network: Pretrained) -> bool:
    """Whether no learned position ties the network to one picture size."""
    return not any("pos" in name.rpartition(".")[2] for name, _ in network.named_parameters())


def with_precision(runtime: Runtime, precision: Precision) -> Runtime:
    """The runtime in another arithmetic, where one is named."""
    return runtime if precision == "auto" else dataclasses.replace(runtime, precision=precision)
