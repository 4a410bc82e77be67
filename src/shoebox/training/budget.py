"""What to train when time is what is given: measure a few steps on this machine, then choose the network's width and
depth, and how many of it answer together.

In: a plan that leaves the network to the planner, the pack, the minutes. Out: the plan with a network that gets enough
epochs in that time, on pictures that grow while it trains. The network is not compiled: on two cores `torch.compile`
took 37 to 73 s for each side of the pictures, and made a step 1.1 to 1.4 times as slow (width 0.75, torch 2.13).
"""

from __future__ import annotations

import dataclasses
import functools
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from shoebox.base.progress import QUIET, Progress
from shoebox.base.replay import BEFORE, Replay, graphs_for
from shoebox.base.runtime import Runtime
from shoebox.data.pack import Pack, Stream
from shoebox.models import build_model
from shoebox.models.summary import summary
from shoebox.pipeline import Pipeline
from shoebox.training.clock import GROWN, side_at
from shoebox.training.planner import Plan

WIDTHS = (2.0, 1.5, 1.25, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25)
EPOCHS = 15
"""Passes that a network of width 1 should get at least, others in proportion to their multiply-adds at depth 2: more
time buys as much of both. As measured, which is an eighth to a sixth fewer than there will be. Seen here on CIFAR-10 in
about ten minutes: 8 passes of width 1 and 14 of width 0.75 reach the same (0.898), 18 of width 0.5 less (0.894); on an
older AMD EPYC 12 of width 0.75 0.8995, 15 of width 0.625 0.897."""


class Kind(NamedTuple):
    """Which speednet."""

    width: float
    depth: int = 2

    def spec(self, members: int = 1) -> str:
        options = {"width": self.width, "depth": self.depth, "members": members}
        usual = {"depth": 2, "members": 1}
        return f"speednet({', '.join(f'{k}={v}' for k, v in options.items() if usual.get(k) != v)})"


MEMBER, MEMBERS = 0.875, 4
"""From this width on, more time buys depth, or networks that answer together, up to so many, then both and width.
Seen here on CIFAR-10: in twenty to thirty minutes one of width 1 reached 0.911 in 23 passes, one of width 1.25 0.912 in
31. In ten minutes, one of width 0.875 reached 0.905 to 0.910 (20 passes), of depth 3 0.908 to 0.911 (14 or 15). In
twenty, two of depth 2 reached 0.918, two of depth 3 0.914; in thirty, three of depth 2 reached 0.917, four 0.919, three
of depth 3 0.914."""

CHOICES = (
    *((Kind(width, 3), MEMBERS) for width in WIDTHS if width >= MEMBER),
    *((Kind(MEMBER), members) for members in range(MEMBERS, 1, -1)),
    (Kind(MEMBER, 3), 1),
    *((Kind(width), 1) for width in WIDTHS if width <= MEMBER),
)
"""Networks and how many of them, the costliest first."""

FEW, FEW_MEMBERS = 20_000, 2
"""Training pictures below which only so many networks answer together, and none is wider than `MEMBER`: twenty minutes
of imagenette128 (9,000 pictures) ended at 0.902 with width 1 and 17 passes, at 0.901 with width 1.25 and 15; with two
of width 0.875 at 0.909 of depth 3, 21 passes each, at 0.918 and 0.920 of depth 2, 26 and 28 each (an AMD EPYC)."""

MEASURED, PLACES = 4, 75_000
"""A CPU measures a batch divided by the one, and more of it where that has not so many places: part of what a step
takes does not depend on how many pictures there are. Of 512 pictures (width 0.75, an older AMD EPYC) a quarter of 32
or of 24 px, or a half of 16 px, made 0.8 to 0.9 as many a second as all."""

WARMING, LOOKED_AT = 8, 128
"""Pictures of a pass that is not timed, and at most of one that is scored."""

ALIKE = 2.0
"""How many times as dear or as cheap as the last measured whole, at most, a network is of which the rate alone is
measured: how much faster it is on smaller pictures, and when it scores, differs no more than one measurement from the
next."""

ROUGHLY, HOPE = 64, 2.0
"""Pictures of a first step that tells roughly what can be hoped for, and how many times as fast a whole batch may be:
minutes that pay for narrow networks alone should not be spent on measuring wide ones."""

CHANCE = 0.8
"""A step at a smaller share than this of the expected rate may have been held up by another program."""

LOOKING = 0.15
"""Share of the time that looks at scored pictures may take."""

GROW = 0.5
"""Share of their side that pictures start with, where the recipe leaves it open. On half of CIFAR-10 in 200 s (width
0.5, seed 0, two looks; test) 16, 24 and 32 px reached 0.861; from 20 to 32 px in steps of two, without the network's
border, 0.856."""


@dataclass(frozen=True)
class Pace:
    """How fast a network is here: pictures a second at their whole side; how many times that while they grow, on
    average; looks a second at scored ones."""

    rate: float
    gain: float
    looks: float

    def at(self, rate: float) -> Pace:
        """That of another, whose rate is known, and all else in proportion."""
        return Pace(rate, self.gain, self.looks * rate / self.rate)


def fit_to_time(
    plan: Plan,
    packed: Pack | Stream,
    runtime: Runtime,
    seconds: float,
    progress: Progress,
    decided: int | None = None,
) -> Plan:
    """Replace a bare "speednet" by the first of `CHOICES` that gets enough passes over the training part in `seconds`;
    where it is `decided` how many passes there will be, by the widest that makes them.

    How many are enough says `EPOCHS`. A network is measured only where the rate of the last that was measured leaves
    hope for it: a narrow one is slower than its multiply-adds say.
    """
    size, classes = plan.preprocess.size, len(packed.index.classes)
    pictures = max(int((packed.index.part == "train").sum()), 1)
    grow = plan.recipe.grow or GROW
    sides = [side_at(share, size, grow) for share in np.linspace(0, 1, 100)]
    scored = int(np.isin(packed.index.part, ("val", "test")).sum())
    end = time.monotonic() + seconds

    def timed(kind: Kind, side: int, expected: float) -> float:
        """Pictures a second: of one step, and of another where that was slower than expected by what may be chance."""
        rate = training_rate(plan, packed, runtime, kind, side)
        return rate if rate > CHANCE * expected else max(rate, training_rate(plan, packed, runtime, kind, side))

    def measured(kind: Kind, rates: dict[int, float]) -> Pace:
        """From the rates that are known, by side; the others are measured, small sides first."""
        for side in sorted({*sides} - {*rates}):
            expected = max((rate * (less / side) ** 2 for less, rate in rates.items() if less < side), default=0.0)
            rates[side] = timed(kind, side, expected)
        gain = float(np.mean([rates[side] / rates[size] for side in sides]))
        return Pace(rates[size], gain, looking_rate(plan, packed, runtime, kind))

    def scoring(pace: Pace, members: int) -> float:
        """Seconds that looks at scored pictures take."""
        return scored * plan.preprocess.looks * members / pace.looks

    def passes(pace: Pace, members: int) -> float:
        """Over the training part, in what is left, once what is scored afterwards has had its time."""
        return pace.gain * pace.rate * (end - time.monotonic() - scoring(pace, members)) / pictures

    def dearer(kind: Kind, than: Kind) -> float:
        return cost(kind, classes, size) / cost(than, classes, size)

    def enough(kind: Kind, members: int = 1) -> float:
        """The passes that it should get."""
        return decided or members * EPOCHS * dearer(Kind(kind.width), Kind(1.0))

    def first() -> Kind:
        """The widest up to `MEMBER` that may get them, by a step of a few pictures."""
        member = Kind(MEMBER)
        training_rate(plan, packed, runtime, member, min(sides), WARMING)  # the first of all steps waits for much
        rate = HOPE * training_rate(plan, packed, runtime, member, size, ROUGHLY)
        gain = float(np.mean([(size / side) ** 2 for side in sides]))
        hoped = rate * gain * (end - time.monotonic()) / pictures
        kinds = [Kind(width) for width in WIDTHS if width <= MEMBER]
        return next((kind for kind in kinds if hoped / dearer(kind, member) >= enough(kind)), kinds[-1])

    near = whole = first()
    known = {near: measured(near, {})}
    # What ends or slows a training by its validations would take a finished member's figures for those of the next.
    judged = plan.recipe.patience is not None or plan.recipe.schedule.startswith("plateau")
    most = 1 if judged else FEW_MEMBERS if pictures < FEW else MEMBERS
    choices = [choice for choice in CHOICES if choice[1] <= most]
    if decided:
        choices = [(Kind(width), 1) for width in WIDTHS]
    dearest = passes(known[near], 1) / dearer(near, Kind(1.0))
    for kind, members in choices:
        if kind.width > MEMBER and not decided and dearest < members * EPOCHS:
            continue  # what is dearer still needs no counting of its multiply-adds
        last = (kind, members) == choices[-1]
        pace = known.get(kind) or known[near].at(known[near].rate / dearer(kind, near))
        if passes(pace, members) < enough(kind, members) and not last:
            continue
        if kind not in known:
            pace, near = pace.at(timed(kind, size, pace.rate)), kind
            alike = 1 / ALIKE <= dearer(kind, whole) <= ALIKE
            if not alike and (passes(pace, members) >= enough(kind, members) or last):
                pace, whole = measured(kind, {size: pace.rate}), kind
            known[kind] = pace
        if passes(pace, members) >= enough(kind, members) or last:
            break
    given: dict[str, object] = {"model": kind.spec(members), "grow": grow}
    if plan.preprocess.shift and scoring(pace, members) > LOOKING * seconds:
        plan = dataclasses.replace(plan, preprocess=dataclasses.replace(plan.preprocess, shift=False))
        given["shift"] = False
    recipe = plan.recipe
    left = end - time.monotonic()
    count, together = max(passes(pace, members), 0), f" of {members} networks in turn" if members > 1 else ""
    progress.say(f"plan: {kind.spec(members)}, measured at {pace.rate:,.0f} pictures/s of {size} px here")
    progress.say(
        f"      about {count:.0f} passes{together} over {pictures:,} pictures in {left:.0f} s with scoring; "
        f"over the first {GROWN:.0%} they grow from {sides[0]} to {size} px, in all {pace.gain:.1f} times as fast"
    )
    progress.say(
        f"      {recipe.batch_size} pictures a step, {recipe.optimizer} at {recipe.lr}, {recipe.schedule} to zero as "
        "time ends" + ("; no moved looks, which would take long to score" if "shift" in given else "")
    )
    return dataclasses.replace(plan, recipe=recipe.override(given))


@functools.cache
def cost(kind: Kind, classes: int, size: int) -> int:
    """Multiply-adds of a picture in the speednet made for `size` px."""
    with torch.device("meta"):
        network = build_model(kind.spec(), classes=classes, size=size)
    # Zeros for weights: on "meta" a picture would have torch import its compiler, and so would `to_empty`.
    whole = network._apply(lambda t: torch.zeros(t.shape, dtype=t.dtype))  # type: ignore[no-untyped-call]
    return summary(whole, size).multiply_adds


def training_rate(
    plan: Plan, packed: Pack | Stream, runtime: Runtime, kind: Kind, side: int, most: int | None = None
) -> float:
    """Pictures of `side` px a second in a forward and a backward pass of a speednet for the plan, of `most` at most.

    The step is one of the later part of training. On a GPU kernels are chosen in the first, and one of those counts
    that are replayed.
    """
    classes = len(packed.index.classes)
    network = build_model(kind.spec(), classes=classes, size=plan.preprocess.size)
    pipeline = Pipeline(network, plan.preprocess).place(runtime.device).train()
    for parameter in network.resting(1.0):
        parameter.requires_grad_(False)
    rows = np.arange(min(plan.recipe.batch_size or 1, len(packed)))[:most]
    if runtime.device == "cpu":
        rows = rows[: max(1, len(rows) // MEASURED, PLACES // side**2)]
    stored = torch.from_numpy(packed.gather(rows)).permute(0, 3, 1, 2).to(runtime.device)
    labels = torch.from_numpy(packed.index.labels[rows]).clamp_min(0).to(runtime.device)
    graphs = graphs_for(runtime.device, QUIET)
    replay = Replay(network, graphs, QUIET)

    def passes(inputs: Tensor, labels: Tensor) -> Tensor:
        with runtime.autocast():
            logits: Tensor = network(inputs).float()
        F.cross_entropy(logits, labels).backward()
        return logits.detach()

    for _ in range(1 if runtime.device == "cpu" else BEFORE + 3 if graphs else 2):
        start = time.monotonic()
        logits = replay.run(passes, None, pipeline.inputs(stored, side), labels)
        # Reading a value waits for the device to finish.
        float(logits[0, 0])
        seconds = time.monotonic() - start
        network.zero_grad()
    return len(rows) / seconds


@torch.inference_mode()
def looking_rate(plan: Plan, packed: Pack | Stream, runtime: Runtime, kind: Kind) -> float:
    """Looks a second at pictures that are scored, in float32."""
    network = build_model(kind.spec(), classes=2, size=plan.preprocess.size)
    pipeline = Pipeline(network, plan.preprocess).place(runtime.device).eval()
    rows = np.arange(min(pipeline.at_once(), LOOKED_AT, len(packed)))
    stored = torch.from_numpy(packed.gather(rows)).permute(0, 3, 1, 2).to(runtime.device)
    for some in (stored[:WARMING], stored):  # the first looks build their kernels
        start = time.monotonic()
        float(network(pipeline.inputs(some))[0, 0])
        seconds = time.monotonic() - start
    return len(rows) / seconds
