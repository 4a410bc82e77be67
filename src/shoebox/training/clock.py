"""How far training is, from 0 to 1: counted in updates, or in the minutes a person gave.

The schedule follows this number, so that the learning rate ends at zero either after the last update or when the time
is up, however fast the machine turned out to be. So does the side of the pictures where they grow as training goes on.
Where the end is a time, progress is taken from time to updates (`updates_done`) first.
"""

import math
import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

GROWN = 0.6
"""Progress, in updates, at which pictures that grow have reached their whole side."""
COST = 1.5
"""A step takes about this power of its pictures' side: on two cores 0.39 of its time at half of 32 px (width 0.875)."""


def updates_done(time_used: float, grow: float) -> float:
    """The share of a training's updates that is done once a share of its time is used, where pictures grow.

    What follows progress follows updates, whoever set the end: if half of the time went by in small pictures, the rate
    would fall by half before the network has seen whole ones, and too few of these would be left. (Four trainings of 14
    and 16 passes that were counted in updates, two by two, reached 0.916 to 0.920 on CIFAR-10 in 19 to 23 minutes; two
    of 16 whose sides and rate followed the time, 0.917 in 28.)
    """
    steps = (GROWN / 3, GROWN * 2 / 3, 1 - GROWN)
    costs = [step * share**COST for step, share in zip(steps, (grow, (1 + grow) / 2, 1.0), strict=True)]
    times = [sum(costs[:i]) / sum(costs) for i in range(4)]
    return float(np.interp(time_used, times, (0.0, GROWN / 3, GROWN, 1.0)))


def side_at(progress: float, size: int, grow: float) -> int:
    """The side of training pictures at a moment, px: `grow`·`size`, then half the way to `size`, then `size`.

    Early passes teach coarse things, for which small pictures do, at a fraction of the cost (progressive resizing: Tan
    and Le, "EfficientNetV2", 2021, arXiv:2104.00298). Two smaller sides and not more: a convolution computes squares of
    4×4 (`base/winograd.py`), so that 18 to 22 of 32 px would cost `speednet` as much as 24, and 26 to 30 as much as 32.
    """
    if progress >= GROWN:
        return size
    share = grow if progress < GROWN / 3 else (1 + grow) / 2
    return min(size, 2 * math.ceil(size * share / 2 - 1e-6))


class Clock(Protocol):
    """Where training is between its start (0) and its end (1 or more)."""

    def progress(self, updates: int) -> float:
        """The share of training that is done after so many updates."""


@dataclass(frozen=True)
class UpdateClock:
    """Training ends after `total` updates."""

    total: int

    def progress(self, updates: int) -> float:
        """Updates done over updates planned."""
        return updates / self.total


@dataclass(frozen=True)
class FirstClock:
    """Training ends when the first of several clocks says so."""

    clocks: tuple[Clock, ...]

    def progress(self, updates: int) -> float:
        """That of the clock that is furthest."""
        return max(clock.progress(updates) for clock in self.clocks)


@dataclass(frozen=True)
class TimeClock:
    """Training ends at a moment.

    Attributes:
        start: when this process began to train, on `time.monotonic`.
        end: when it must be over.
        used: seconds that earlier processes of the same run have trained.
    """

    start: float
    end: float
    used: float = 0.0

    def progress(self, updates: int) -> float:
        """Time used over time given."""
        given = self.used + max(self.end - self.start, 1e-9)
        return (self.used + time.monotonic() - self.start) / given
