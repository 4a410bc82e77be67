"""The plan of a fine-tuning: frozen depth, views and passes, from what a few batches cost here.

In: a plan whose network has a fitted head, the pack, the seconds there are. Out: the plan with nothing left open, and
two lines that say what will be done and why.

Below the frozen boundary a picture is computed forward, once a pass or once a kept view; above it, forward and backward
in every pass. Thawing more teaches more and costs more: the deepest thaw that still gets enough looks is taken.
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
from shoebox.models import Network, Pretrained
from shoebox.models.network import freeze
from shoebox.pipeline import Pipeline
from shoebox.training.boundary import Boundary, cut, find_boundary
from shoebox.training.features import Trunk
from shoebox.training.planner import Plan
from shoebox.training.probe import FEW
from shoebox.training.probe_plan import LOOKS, LOOKS_LEAST, PASSES, few_pictures, with_precision

EVERYTHING = 5
"""How many times as many looks are wanted where nothing is to stay frozen: the lowest stages cost most and have least
to learn. MobileNetV2 on CIFAR-10, a minute of one core: at 64 px 0.77 with everything thawed, 0.81 with 4 of 19 stages
frozen, which makes a pass twice as fast."""

LIGHT_BELOW = 8
"""Passes below which pictures are only flipped: there is no time to learn them by heart. Seen on CIFAR-10, 9,500 of its
pictures once each at 96 px: 0.827 flipped, 0.817 also cropped."""

MOST_PASSES = 12
"""Passes planned where no time is given; patience may end them sooner."""

VIEWS = 4
"""Looks at each picture that are kept, where fresh ones in every pass take too long."""

UNHURRIED, UNHURRIED_FEW = 600.0, 25.0
"""Seconds that a fine-tuning is planned for where no time is given; patience may end it sooner. Few pictures have
little to add to their probe."""

PATIENCE = 4
"""Passes without a better validation after which a fine-tuning without a time limit ends."""

DEPTHS, DEPTHS_FEW = (0.0, 0.2, 0.35, 0.55, 0.75), (0.35, 0.55, 0.75)
"""Shares of the stages that may stay frozen; few pictures have nothing to teach the lowest ones."""

STEADY = 0.3
"""Seconds of steps that are enough to time one depth in one arithmetic; the fastest of them counts."""

MEASURING = 4.0
"""Seconds of measuring after which only the shallowest thaw is still looked at."""

FORWARD = 1 / 3
"""What a forward pass costs of a forward and backward one."""


@dataclass(frozen=True)
class Depth:
    """One way to divide a network into frozen and training.

    Attributes:
        frozen: stages.
        boundary: where the network can be cut above them; None: the frozen stages are part of every pass.
        below: pictures a second up to the boundary.
        rate: pictures a second of forward and backward passes over what trains.
        precision: the faster arithmetic for that.
    """

    frozen: int
    boundary: Boundary | None
    below: float
    rate: float
    precision: Precision

    def seconds(self, train: int, val: int, views: int) -> tuple[float, float]:
        """(before the first pass, of each pass with its validation); no views: what is frozen runs in each pass."""
        training = train / self.rate + val * FORWARD / self.rate
        if self.boundary is None:
            return 0.0, training
        if not views:
            return 0.0, training + (train + val) / self.below
        return (views * train + val) / self.below, training


@dataclass(frozen=True)
class Tuning:
    """A depth, how many views are kept of each picture, and the passes that fit in the time."""

    depth: Depth
    views: int
    passes: float


def plan_tuning(
    plan: Plan,
    open_recipe: Recipe,
    pipeline: Pipeline,
    trunk: Trunk,
    packed: Pack | Stream,
    runtime: Runtime,
    seconds: float | None,
    *,
    progress: Progress,
) -> Plan:
    """Decide frozen depth, views, passes and the arithmetic of training.

    Args:
        seconds: there are for fine-tuning; None: no limit.
    """
    network, recipe = pipeline.network, plan.recipe
    assert isinstance(network, Pretrained)
    train, val = (int((packed.index.part == part).sum()) for part in ("train", "val"))
    unhurried = UNHURRIED if train + val > FEW else UNHURRIED_FEW
    given = unhurried if seconds is None else seconds
    limit = recipe.epochs - 1 if open_recipe.epochs and recipe.epochs else None
    stages = len(network.stages())
    if recipe.trainable is None:
        frozen = sorted({round(share * stages) for share in (DEPTHS if train + val > FEW else DEPTHS_FEW)})
    else:
        freeze(network, recipe.trainable)
        frozen = [frozen_stages(network)]
    best, place, wanted, started = None, 0, 0.0, time.monotonic()
    while given > 0 and place < len(frozen):
        wanted = min(wanted_passes(train, frozen[place]), limit or PASSES)
        depth = measured(pipeline, trunk, frozen[place], packed, recipe, runtime)
        found = most_passes(depth, recipe, train, val, given, wanted, len(packed))
        best = found if best is None or found.passes > best.passes else best
        if best.passes >= wanted or place == len(frozen) - 1:
            break
        # What cannot be enough, or would take long to find out, is passed over.
        late = time.monotonic() - started > MEASURING
        place = len(frozen) - 1 if late else min(place + (2 if 3 * best.passes < wanted else 1), len(frozen) - 1)
    few = best is None or best.passes * train < min(train, LOOKS_LEAST)
    if best is None or (few and limit is None) or limit == 0:
        progress.say(f"plan: no fine-tuning, {'as asked' if limit == 0 else 'for which there is no time'}")
        return dataclasses.replace(plan, recipe=recipe.override({"trainable": "head", "views": 0, "epochs": 1}))
    epochs = 1 + (limit or (MOST_PASSES if seconds is None else max(2 * round(best.passes), 40)))
    chosen: dict[str, object] = {"views": best.views, "precision": best.depth.precision, "epochs": epochs}
    if recipe.trainable is None:
        chosen["trainable"] = {0: "all", stages: "head"}.get(best.depth.frozen, stages - best.depth.frozen)
    if seconds is None and recipe.patience is None and val:
        chosen["patience"] = PATIENCE
    if open_recipe.augment is None and round(best.passes) < LIGHT_BELOW:
        chosen["augment"] = ("flip",)
    for line in explained(best, stages, seconds, epochs - 1, wanted, chosen.get("patience")):
        progress.say(f"plan: {line}")
    return dataclasses.replace(plan, recipe=recipe.override(chosen))


def wanted_passes(train: int, frozen: int) -> float:
    """How many passes over so many pictures are enough to thaw more rather than to pass once more."""
    return min(PASSES, LOOKS * (1 if frozen else EVERYTHING) / max(train, 1))


def most_passes(
    depth: Depth, recipe: Recipe, train: int, val: int, given: float, wanted: float, pictures: int
) -> Tuning:
    """The most looks at each picture with which `wanted` passes fit, fresh ones first; else the most passes."""
    best = Tuning(depth, 0, 0.0)
    picture = 0 if depth.boundary is None else 2 * int(np.prod(depth.boundary.shape))
    for views in (0, *range(VIEWS, 0, -1)) if recipe.views is None else (recipe.views,):
        if views and (depth.boundary is None or views * pictures * picture > room(cache_folder())):
            continue
        before, each = depth.seconds(train, val, views)
        found = Tuning(depth, views, max(given - before, 0) / each)
        best = found if found.passes > best.passes else best
        if best.passes >= wanted:
            break
    return best


def explained(
    tuning: Tuning, stages: int, seconds: float | None, most: int, wanted: float, patience: object
) -> tuple[str, str]:
    """The two lines that say what fine-tuning will do, and why."""
    depth, views = tuning.depth, tuning.views
    part = {0: "everything", stages: "the head"}.get(
        depth.frozen, f"the top {stages - depth.frozen} of {stages} stages"
    )
    looks = f"what is below kept for {views} look{'s' if views > 1 else ''} at each picture, " if views else ""
    why = "as deep as" if tuning.passes >= wanted else "the most passes there are, though fewer than the"
    first = f"then {part} at {depth.rate:,.0f} pictures/s in {depth.precision}, {looks}{why} {wanted:.2g} passes allow"
    if seconds is not None:
        return (
            first,
            f"{duration(seconds)} for about {min(tuning.passes, most):.1f} passes, the rate falling to 0 on time",
        )
    ending = f", until {patience} bring nothing better on validation" if patience else ""
    return first, f"at most {most} passes{ending}; the probe is kept if they do not beat it"


def measured(
    pipeline: Pipeline, trunk: Trunk, frozen: int, packed: Pack | Stream, recipe: Recipe, runtime: Runtime
) -> Depth:
    """What a pass costs with so many stages frozen: a step or two in each arithmetic that may serve."""
    network = pipeline.network
    assert isinstance(network, Pretrained)
    with torch.no_grad():
        inputs = pipeline.inputs(few_pictures(packed, recipe.batch_size or 16, pipeline.size).to(runtime.device))
    boundary = find_boundary(network, frozen, inputs[:2]) if frozen else None
    trial = copy.deepcopy(network)
    freeze(trial, len(trial.stages()) - frozen or "head")
    below = float("inf")
    if boundary is not None:
        cut(trial, boundary)
        crossing = trunk.below(inputs, boundary)
        start = time.perf_counter()
        crossing = trunk.below(inputs, boundary)
        float(crossing.flatten()[0])
        below = len(inputs) / (time.perf_counter() - start)
        inputs = crossing.float()
    labels = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
    choices: list[Precision] = ["fp32", runtime.precision] if recipe.precision == "auto" else [recipe.precision]
    rates: dict[Precision, float] = {}
    for precision in dict.fromkeys(choices):
        seconds: list[float] = []
        # The first step of each arithmetic also builds its kernels.
        while (
            len(seconds) < 4
            and sum(seconds[1:]) < STEADY
            and (not seconds or seconds[0] < 2 * len(inputs) / max(rates.values(), default=1e-9))
        ):
            start = time.perf_counter()
            with with_precision(runtime, precision).autocast():
                logits = trial(inputs).float()
            F.cross_entropy(logits, labels).backward()
            float(logits.detach()[0, 0])
            seconds.append(time.perf_counter() - start)
        rates[precision] = len(inputs) / min(seconds)
    fastest = max(rates, key=lambda name: rates[name])
    return Depth(frozen, boundary, below, rates[fastest], fastest)


def frozen_stages(network: Network) -> int:
    """How many of a network's stages, from the input upward, have nothing that trains."""
    stages = network.stages()
    for count, (_, stage) in enumerate(stages):
        if any(p.requires_grad for p in stage.parameters()):
            return count
    return len(stages)
