"""How far training is, from 0 to 1: counted in updates, or in the minutes a person gave.

The schedule follows this number, so that the learning rate ends at zero either after the last update or when the time
is up, however fast the machine turned out to be. So does the side of the pictures where they grow as training goes on.
"""

import math
import time
from dataclasses import dataclass
from typing import Protocol

GROWN = 0.6
"""Progress at which pictures that grow have reached their whole side."""


def side_at(progress: float, size: int, grow: float) -> int:
    """The side of training pictures at a moment, px: `grow`·`size`, then half the way to `size`, then `size`.

    Early passes teach coarse things, for which small pictures do, at a fraction of the cost (progressive resizing: Tan
    and Le, "EfficientNetV2", 2021, arXiv:2104.00298). Two smaller sides and not more: a convolution computes squares of
    4×4 or, in float32, of 6×6 (`base/winograd.py`), which 16, 24 and 32 px fill; most others cost as much as the next.
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
