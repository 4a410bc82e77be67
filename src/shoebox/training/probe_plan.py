"""The plan of the probe: picture size and arithmetic of the features, as the cache holds them or as timed in a second.

In: a plan whose network has pretrained weights, the pack, the seconds there are. Out: the plan with its size and the
trunk that will compute the features, and the first of the three lines of a transfer run's plan.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shoebox.base.progress import Progress, duration
from shoebox.base.recipe import Recipe
from shoebox.base.runtime import Precision, Runtime, derive_seed
from shoebox.data.index import ImageIndex
from shoebox.data.pack import Pack, Stream
from shoebox.models import Pretrained
from shoebox.pipeline import Pipeline
from shoebox.training.features import Trunk, all_known, faster_trunk, make_trunk
from shoebox.training.planner import Plan, batch_size

PROBE_SECONDS = 60.0
"""The features that a probe looks at should not take longer; else smaller pictures are looked at."""

PROBE_SHARE = 0.25
"""Of a given time, for the features of the probe. Larger pictures repay it: imagenette's at 128 px give a probe of
0.943 and after two minutes of fine-tuning 0.955, at 224 px a probe of 0.973."""

PROBED = 12_000
"""Training pictures that a probe learns from where fine-tuning follows, which then sees all. More of them say little
that is new to a linear head, and the time is worth more to fine-tuning."""

PASSES = 5
"""Passes over the training part that a fine-tuning should get, where that is fewer looks than `LOOKS`."""

LOOKS, LOOKS_LEAST = 40_000, 10_000
"""Pictures that a fine-tuning should look at, if need be in less than one pass, before fewer stages are frozen; and
before larger pictures are looked at. MobileNetV2 on CIFAR-10 in 105 s of two cores: one pass at 96 px with 7 of 19
stages frozen, 0.87; three passes at 64 px with 14 frozen, 0.83."""

TUNED = 0.7
"""Of a given time, what is left for fine-tuning."""

DEARER = 4.0
"""What a picture costs in fine-tuning, in pictures that a frozen network reads."""

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
    rows = np.sort(np.concatenate([*probed_rows(packed.index, plan.recipe).values()]))
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
                    f"plan: {side} px, at which the features of {len(rows):,} pictures are in the cache already: "
                    "the probe starts from them"
                )
                return _with(plan, found, open_recipe, train), found
    trunk = faster_trunk(trunk, wanted, stored)
    pixels = trunk.rate * expected**2
    budget = PROBE_SECONDS if seconds is None else min(PROBE_SECONDS, PROBE_SHARE * seconds)
    side = affordable_size(sides, pixels, len(rows), budget)
    if seconds is not None:
        looks = min(LOOKS_LEAST, PASSES * train)
        side = min(side, affordable_size(sides, pixels / DEARER, looks, TUNED * seconds))
    rate = trunk.rate * (expected / side) ** 2
    progress.say(
        f"plan: {side} px: the frozen network reads about {rate:,.0f} pictures/s in {trunk.runtime.precision}, so the "
        f"probe looks at {len(rows):,} pictures in about {duration(len(rows) / rate)}"
    )
    trunk = trunk.at(side)
    return _with(plan, trunk, open_recipe, train), trunk


def probed_rows(index: ImageIndex, recipe: Recipe) -> dict[str, NDArray[np.int64]]:
    """By part, the labelled rows that a probe looks at: all, or `PROBED` of the training part where more follows."""
    rows = {part: np.flatnonzero((index.part == part) & (index.labels >= 0)) for part in ("train", "val")}
    if recipe.epochs != 1 and recipe.trainable != "head":
        draw = np.random.default_rng(derive_seed(recipe.seed, "probe")).permutation(rows["train"])
        rows["train"] = np.sort(draw[:PROBED])
    return rows


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
    return runtime if precision == "auto" else dataclasses.replace(runtime, precision=precision, halves=False)


def few_pictures(packed: Pack | Stream, count: int, side: int = 0) -> torch.Tensor:
    """Stored pictures (n, 3, S, S) uint8 from all over the pack; fewer of large ones, for which a few tell enough."""
    count = max(4, min(count, len(packed), 1_600_000 // max(side, 1) ** 2 if side else count))
    rows = np.linspace(0, len(packed) - 1, min(count, len(packed))).astype(np.int64)
    return torch.from_numpy(packed.gather(rows)).permute(0, 3, 1, 2)
