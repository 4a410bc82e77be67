"""What to train when time is what is given: measure a few steps on this machine, then choose the network's width.

In: a plan that leaves the network to the planner, the pack, the minutes. Out: the plan with a network that gets enough
epochs in that time, on pictures that grow while it trains. The network is not compiled: on two cores `torch.compile`
took 37 to 73 s for each side of the pictures, and made a step 1.1 to 1.4 times as slow (width 0.75, torch 2.13).
"""

from __future__ import annotations

import dataclasses
import functools
import time

import numpy as np
import torch
from torch.nn import functional as F

from shoebox.base.progress import Progress
from shoebox.base.runtime import Runtime, at_once
from shoebox.data.pack import Pack, Stream
from shoebox.models import build_model
from shoebox.models.summary import summary
from shoebox.pipeline import Pipeline
from shoebox.training.clock import GROWN, side_at
from shoebox.training.planner import Plan

WIDTHS = (2.0, 1.5, 1.25, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25)
EPOCHS = 17
"""Passes that a network of width 1 should get at least, others in proportion to their multiply-adds: more time buys as
much of both. Seen here on CIFAR-10 in about ten minutes: 8 passes of width 1 and 14 of width 0.75 reach the same
(0.898), 18 of width 0.5 less (0.894). In thirty, 23 of width 1 reach 0.911, 14 of width 1.25 0.908."""

FEW = 20_000
"""Training pictures below which no network is wider than 1: twenty minutes of imagenette128 (9,000 pictures) ended at
0.902 with width 1 and 17 passes, at 0.901 with width 1.25 and 15."""

LOOKING = 0.15
"""Share of the time that looks at scored pictures may take."""

GROW = 0.5
"""Share of their side that pictures start with, where the recipe leaves it open. On half of CIFAR-10 in 200 s (width
0.5, seed 0, two looks; test) 16, 24 and 32 px reached 0.861; from 20 to 32 px in steps of two, without the network's
border, 0.856."""


def fit_to_time(
    plan: Plan,
    packed: Pack | Stream,
    runtime: Runtime,
    seconds: float,
    progress: Progress,
    decided: int | None = None,
) -> Plan:
    """Replace a bare "speednet" by the widest that gets enough passes over the training part in `seconds`.

    How many are enough says `EPOCHS`, unless it is `decided` how many there will be. A width is measured only where the
    rate of the last that was measured, 1 at first, leaves hope for it: a narrow network is slower than its
    multiply-adds say.
    """
    size, classes = plan.preprocess.size, len(packed.index.classes)
    pictures = max(int((packed.index.part == "train").sum()), 1)
    grow = plan.recipe.grow or GROW
    sides = [side_at(share, size, grow) for share in np.linspace(0, 1, 100)]
    scored = int(np.isin(packed.index.part, ("val", "test")).sum())

    def scoring() -> float:
        """What the looks at scored pictures take, counted in pictures that could be trained on meanwhile."""
        return rate / looks * scored * plan.preprocess.looks

    def measured(width: float) -> tuple[float, float, float]:
        """Whole pictures a second, how many times as many as these it is on the way, while they grow, and looks."""
        rates = {side: training_rate(plan, packed, runtime, width, side) for side in sorted(set(sides))}
        gain = float(np.mean([rates[side] / rates[size] for side in sides]))
        return rates[size], gain, looking_rate(plan, packed, runtime, width)

    def passes(rate: float) -> float:
        """Over the training part, once what is scored afterwards has had its time."""
        return gain * (rate * seconds - scoring()) / pictures

    last, (rate, gain, looks) = 1.0, measured(1.0)
    for width in WIDTHS if decided or pictures >= FEW else [width for width in WIDTHS if width <= 1]:
        enough = decided or EPOCHS * cost(width, classes, size) / cost(1.0, classes, size)
        hope = rate * cost(last, classes, size) / cost(width, classes, size)
        if width != last and (passes(hope) >= enough or width == WIDTHS[-1]):
            last, (rate, gain, looks) = width, measured(width)
        if width == last and passes(rate) >= enough:
            break
    given: dict[str, object] = {"model": f"speednet(width={width})", "grow": grow}
    if plan.preprocess.shift and scoring() > LOOKING * seconds * rate:
        plan = dataclasses.replace(plan, preprocess=dataclasses.replace(plan.preprocess, shift=False))
        given["shift"] = False
    recipe = plan.recipe
    progress.say(f"plan: speednet(width={width}), measured at {rate:,.0f} pictures/s of {size} px here")
    progress.say(
        f"      about {max(passes(rate), 0):.0f} passes over {pictures:,} pictures in {seconds:.0f} s with scoring; "
        f"over the first {GROWN:.0%} they grow from {sides[0]} to {size} px, in all {gain:.1f} times as fast"
    )
    progress.say(
        f"      {recipe.batch_size} pictures a step, {recipe.optimizer} at {recipe.lr}, {recipe.schedule} to zero as "
        "time ends" + ("; no moved looks, which would take long to score" if "shift" in given else "")
    )
    return dataclasses.replace(plan, recipe=recipe.override(given))


@functools.cache
def cost(width: float, classes: int, size: int) -> int:
    """Multiply-adds of a picture in the speednet made for `size` px."""
    with torch.device("meta"):
        network = build_model(f"speednet(width={width})", classes=classes, size=size)
    return summary(network, size).multiply_adds


def training_rate(
    plan: Plan, packed: Pack | Stream, runtime: Runtime, width: float, side: int, steps: int = 2
) -> float:
    """Pictures of `side` px a second in forward and backward passes of a speednet for the plan, at best.

    The steps are whole ones, of the later part of training: a quarter of the pictures were seen to make half as many a
    second (16 px, width 1), since part of what a step takes does not depend on how many there are.
    """
    classes = len(packed.index.classes)
    network = build_model(f"speednet(width={width})", classes=classes, size=plan.preprocess.size)
    pipeline = Pipeline(network, plan.preprocess).place(runtime.device).train()
    for parameter in network.resting(1.0):
        parameter.requires_grad_(False)
    rows = np.arange(min(plan.recipe.batch_size or 1, len(packed)))
    stored = torch.from_numpy(packed.gather(rows)).permute(0, 3, 1, 2).to(runtime.device)
    labels = torch.from_numpy(packed.index.labels[rows]).clamp_min(0).to(runtime.device)
    best = float("inf")
    for _ in range(steps):
        start = time.monotonic()
        with runtime.autocast():
            logits = network(pipeline.inputs(stored, side)).float()
        F.cross_entropy(logits, labels).backward()
        # Reading a value waits for the device to finish.
        float(logits.detach()[0, 0])
        best = min(best, time.monotonic() - start)
    return len(rows) / best


@torch.inference_mode()
def looking_rate(plan: Plan, packed: Pack | Stream, runtime: Runtime, width: float) -> float:
    """Looks a second at pictures that are scored, in float32, at best of two."""
    network = build_model(f"speednet(width={width})", classes=2, size=plan.preprocess.size)
    pipeline = Pipeline(network, plan.preprocess).place(runtime.device).eval()
    rows = np.arange(min(at_once(runtime.device, plan.preprocess.size), len(packed)))
    stored = torch.from_numpy(packed.gather(rows)).permute(0, 3, 1, 2).to(runtime.device)
    best = float("inf")
    for _ in range(2):
        start = time.monotonic()
        float(network(pipeline.inputs(stored))[0, 0])
        best = min(best, time.monotonic() - start)
    return len(rows) / best
