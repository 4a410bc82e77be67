"""The plan of the probe: picture size and arithmetic of the features, as the cache holds them or as timed in a second.

In: a plan whose network has pretrained weights, the pack, the seconds there are. Out: the plan with its size and the
trunk that will compute the features, and the first of the three lines of a transfer run's plan.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from shoebox.base.progress import Progress, duration
from shoebox.base.recipe import Recipe
from shoebox.base.runtime import Precision, Runtime
from shoebox.data.pack import Pack, Stream
from shoebox.models import Pretrained
from shoebox.pipeline import Pipeline
from shoebox.training.features import Trunk, all_known, faster_trunk, make_trunk
from shoebox.training.planner import Plan, batch_size

PROBE_SECONDS = 45.0
"""Where no time is given, the features of all pictures should not take longer; else smaller pictures are looked at."""

PROBE_SHARE = 0.1
"""Of a given time, for the features of the probe."""

SIDES = (64, 96, 128, 160, 192, 224, 256, 288, 320, 384)


def plan_probe(
    plan: Plan,
    open_recipe: Recipe,
    network: Pretrained,
    packed: Pack | Stream,
    runtime: Runtime,
    seconds: float | None,
    *,
    cache: Path | None,
    progress: Progress,
) -> tuple[Plan, Trunk]:
    """Decide the picture size and the arithmetic of the features: those that the cache holds, else by measuring.

    Args:
        open_recipe: as the person gave it, to know what is open.
        seconds: there are for everything; None: no limit.
    """
    rows = np.flatnonzero(np.isin(packed.index.part, ("train", "val")))
    train = int((packed.index.part == "train").sum())
    expected, store = plan.preprocess.size, plan.preprocess.store
    wanted = with_precision(runtime, plan.recipe.feature_precision)
    pipeline = Pipeline(network.eval(), plan.preprocess).place(runtime.device)
    stored = few_pictures(packed, 16, expected)
    sides = usable_sides(expected, store) if open_recipe.size is None and takes_any_size(network) else [expected]
    trunk = make_trunk(pipeline, with_precision(wanted, "fp32"), pipeline.inputs(stored[:4].to(runtime.device)))
    for side in reversed(sides):
        for arithmetic in {wanted.precision: wanted, "fp32": trunk.runtime}.values():
            found = dataclasses.replace(trunk.at(side), runtime=arithmetic)
            if all_known(found, packed, rows, cache):
                progress.say(
                    f"plan: {side} px, at which the features of all {len(rows):,} pictures are in the cache already: "
                    "the probe starts from them"
                )
                return _with(plan, found, open_recipe, train), found
    trunk = faster_trunk(trunk, wanted, stored)
    budget = PROBE_SECONDS if seconds is None else PROBE_SHARE * seconds
    side = affordable_size(sides, trunk.rate * expected**2, len(rows), budget)
    rate = trunk.rate * (expected / side) ** 2
    progress.say(
        f"plan: {side} px: the frozen network reads about {rate:,.0f} pictures/s in {trunk.runtime.precision}, so the "
        f"probe looks at {len(rows):,} pictures in about {duration(len(rows) / rate)}"
    )
    trunk = trunk.at(side)
    return _with(plan, trunk, open_recipe, train), trunk


def _with(plan: Plan, trunk: Trunk, open_recipe: Recipe, train: int) -> Plan:
    """The plan, its size and the arithmetic of its features being the trunk's, its batches those that suit the size."""
    size = trunk.pipeline.size
    chosen: dict[str, object] = {"size": size, "feature_precision": trunk.runtime.precision}
    if open_recipe.batch_size is None:
        chosen["batch_size"] = batch_size(train, size, pretrained=True)
    return Plan(plan.recipe.override(chosen), dataclasses.replace(plan.preprocess, size=size))


def usable_sides(expected: int, store: int) -> list[int]:
    """Sides worth looking at, ascending: at most the one the weights were made for.

    Pictures smaller than that are enlarged up to threefold, which pretrained filters repay.
    """
    sides = [side for side in SIDES if side < expected and side <= 3 * store]
    return [*sides, expected] if 3 * store >= expected or not sides else sides


def affordable_size(sides: list[int], pixels: float, pictures: int, seconds: float) -> int:
    """The largest side at which all pictures are read in so many seconds, at `pixels` a second; else the smallest."""
    affordable = [side for side in sides if pictures * side**2 / pixels <= seconds]
    return max(affordable, default=sides[0])


def takes_any_size(network: Pretrained) -> bool:
    """Whether no learned position ties the network to one picture size."""
    return not any("pos" in name.rpartition(".")[2] for name, _ in network.named_parameters())


def with_precision(runtime: Runtime, precision: Precision) -> Runtime:
    """The runtime in another arithmetic, where one is named."""
    return runtime if precision == "auto" else dataclasses.replace(runtime, precision=precision)


def few_pictures(packed: Pack | Stream, count: int, side: int = 0) -> torch.Tensor:
    """Stored pictures (n, 3, S, S) uint8 from all over the pack; fewer of large ones, for which a few tell enough."""
    count = max(4, min(count, len(packed), 1_600_000 // max(side, 1) ** 2 if side else count))
    rows = np.linspace(0, len(packed) - 1, min(count, len(packed))).astype(np.int64)
    return torch.from_numpy(packed.gather(rows)).permute(0, 3, 1, 2)
