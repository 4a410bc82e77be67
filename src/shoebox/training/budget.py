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

import numpy as np

from shoebox.base.progress import Progress
from shoebox.base.runtime import Runtime
from shoebox.data.pack import Pack, Stream
from shoebox.training.clock import GROWN, side_at
from shoebox.training.pace import WARMING, Kind, Pace, cost, looking_rate, training_rate
from shoebox.training.planner import Plan

WIDTHS = (2.0, 1.5, 1.25, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25)
EPOCHS = 15
"""Passes that a network of width 1 should get at least, others in proportion to their multiply-adds at depth 2: more
time buys as much of both. As measured, which is an eighth to a sixth fewer than there will be. Seen here on CIFAR-10 in
about ten minutes: 8 passes of width 1 and 14 of width 0.75 reach the same (0.898), 18 of width 0.5 less (0.894); on an
older AMD EPYC 12 of width 0.75 0.8995, 15 of width 0.625 0.897."""

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
class Budget:
    """What there is to train on, with what, and until when.

    Attributes:
        end: when training and scoring are to be over, on `time.monotonic`.
        decided: how many passes there will be, where that is no question of time.
    """

    plan: Plan
    packed: Pack | Stream
    runtime: Runtime
    end: float
    decided: int | None = None

    @property
    def size(self) -> int:
        """The side of the pictures, px."""
        return self.plan.preprocess.size

    @functools.cached_property
    def pictures(self) -> int:
        """Those of the training part."""
        return max(int((self.packed.index.part == "train").sum()), 1)

    @functools.cached_property
    def scored(self) -> int:
        """Those that are scored once training is over."""
        return int(np.isin(self.packed.index.part, ("val", "test")).sum())

    @property
    def grow(self) -> float:
        """Share of their side that training pictures start with."""
        return self.plan.recipe.grow or GROW

    @functools.cached_property
    def sides(self) -> list[int]:
        """Those of the training pictures at a hundred moments of training, px."""
        return [side_at(share, self.size, self.grow) for share in np.linspace(0, 1, 100)]

    def rate(self, kind: Kind, side: int, most: int | None = None) -> float:
        """Pictures a second, of one step of `most` pictures at most."""
        return training_rate(self.plan, self.packed, self.runtime, kind, side, most)

    def timed(self, kind: Kind, side: int, expected: float) -> float:
        """The same, and of another step where that was slower than expected by what may be chance."""
        rate = self.rate(kind, side)
        return rate if rate > CHANCE * expected else max(rate, self.rate(kind, side))

    def measured(self, kind: Kind, rates: dict[int, float]) -> Pace:
        """From the rates that are known, by side; the others are measured, small sides first."""
        for side in sorted({*self.sides} - {*rates}):
            expected = max((rate * (less / side) ** 2 for less, rate in rates.items() if less < side), default=0.0)
            rates[side] = self.timed(kind, side, expected)
        gain = float(np.mean([rates[side] / rates[self.size] for side in self.sides]))
        return Pace(rates[self.size], gain, looking_rate(self.plan, self.packed, self.runtime, kind))

    def scoring(self, pace: Pace, members: int) -> float:
        """Seconds that looks at scored pictures take."""
        return self.scored * self.plan.preprocess.looks * members / pace.looks

    def passes(self, pace: Pace, members: int) -> float:
        """Over the training part, in what is left, once what is scored afterwards has had its time."""
        left = self.end - time.monotonic() - self.scoring(pace, members)
        return pace.gain * pace.rate * left / self.pictures

    def dearer(self, kind: Kind, than: Kind) -> float:
        """How many times as many multiply-adds a picture costs."""
        classes = len(self.packed.index.classes)
        return cost(kind, classes, self.size) / cost(than, classes, self.size)

    def enough(self, kind: Kind, members: int = 1) -> float:
        """The passes that it should get."""
        return self.decided or members * EPOCHS * self.dearer(Kind(kind.width), Kind(1.0))

    def first(self) -> Kind:
        """The widest up to `MEMBER` that may get them, by a step of a few pictures."""
        member = Kind(MEMBER)
        self.rate(member, min(self.sides), WARMING)  # the first of all steps waits for much
        rate = HOPE * self.rate(member, self.size, ROUGHLY)
        gain = float(np.mean([(self.size / side) ** 2 for side in self.sides]))
        hoped = rate * gain * (self.end - time.monotonic()) / self.pictures
        kinds = [Kind(width) for width in WIDTHS if width <= MEMBER]
        return next((kind for kind in kinds if hoped / self.dearer(kind, member) >= self.enough(kind)), kinds[-1])

    def choices(self) -> list[tuple[Kind, int]]:
        """Those of `CHOICES` that there may be."""
        if self.decided:
            return [(Kind(width), 1) for width in WIDTHS]
        recipe = self.plan.recipe
        # What ends or slows a training by its validations would take a finished member's figures for the next one's.
        judged = recipe.patience is not None or recipe.schedule.startswith("plateau")
        most = 1 if judged else FEW_MEMBERS if self.pictures < FEW else MEMBERS
        return [choice for choice in CHOICES if choice[1] <= most]

    def choose(self) -> tuple[Kind, int, Pace]:
        """A network, how many of it, and its pace: the first choice that gets enough passes, else the last."""
        near = whole = self.first()
        known, choices = {near: self.measured(near, {})}, self.choices()
        dearest = self.passes(known[near], 1) / self.dearer(near, Kind(1.0))
        for kind, members in choices:
            if kind.width > MEMBER and not self.decided and dearest < members * EPOCHS:
                continue  # what is dearer still needs no counting of its multiply-adds
            last = (kind, members) == choices[-1]
            pace = known.get(kind) or known[near].at(known[near].rate / self.dearer(kind, near))
            if self.passes(pace, members) < self.enough(kind, members) and not last:
                continue
            if kind not in known:
                pace, near = pace.at(self.timed(kind, self.size, pace.rate)), kind
                alike = 1 / ALIKE <= self.dearer(kind, whole) <= ALIKE
                if not alike and (self.passes(pace, members) >= self.enough(kind, members) or last):
                    pace, whole = self.measured(kind, {self.size: pace.rate}), kind
                known[kind] = pace
            if self.passes(pace, members) >= self.enough(kind, members) or last:
                break
        return kind, members, pace


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
    budget = Budget(plan, packed, runtime, time.monotonic() + seconds, decided)
    sides, size = budget.sides, budget.size
    kind, members, pace = budget.choose()
    given: dict[str, object] = {"model": kind.spec(members), "grow": budget.grow}
    if plan.preprocess.shift and budget.scoring(pace, members) > LOOKING * seconds:
        plan = dataclasses.replace(plan, preprocess=dataclasses.replace(plan.preprocess, shift=False))
        given["shift"] = False
        budget = dataclasses.replace(budget, plan=plan)
    recipe, left = plan.recipe, budget.end - time.monotonic()
    count, together = max(budget.passes(pace, members), 0), f" of {members} networks in turn" if members > 1 else ""
    progress.say(f"plan: {kind.spec(members)}, measured at {pace.rate:,.0f} pictures/s of {size} px here")
    progress.say(
        f"      about {count:.0f} passes{together} over {budget.pictures:,} pictures in {left:.0f} s with scoring; "
        f"over the first {GROWN:.0%} they grow from {sides[0]} to {size} px, in all {pace.gain:.1f} times as fast"
    )
    progress.say(
        f"      {recipe.batch_size} pictures a step, {recipe.optimizer} at {recipe.lr}, {recipe.schedule} to zero as "
        "time ends" + ("; no moved looks, which would take long to score" if "shift" in given else "")
    )
    return dataclasses.replace(plan, recipe=recipe.override(given))
