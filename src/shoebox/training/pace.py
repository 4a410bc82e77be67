"""How fast a speednet is on this machine: measured in a step of training, and of scoring; and what it costs.

In: a plan, its pack, which speednet. Out: pictures a second, and multiply-adds a picture.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from shoebox.base.progress import QUIET
from shoebox.base.replay import BEFORE, Replay, graphs_for
from shoebox.base.runtime import Runtime
from shoebox.data.pack import Pack, Stream
from shoebox.models import build_model
from shoebox.models.summary import summary
from shoebox.pipeline import Pipeline
from shoebox.training.planner import Plan

MEASURED, PLACES = 4, 75_000
"""A CPU measures a batch divided by the one, and more of it where that has not so many places: part of what a step
takes does not depend on how many pictures there are. Of 512 pictures (width 0.75, an older AMD EPYC) a quarter of 32
or of 24 px, or a half of 16 px, made 0.8 to 0.9 as many a second as all."""

WARMING, LOOKED_AT = 8, 128
"""Pictures of a pass that is not timed, and at most of one that is scored."""


class Kind(NamedTuple):
    """Which speednet."""

    width: float
    depth: int = 2

    def spec(self, members: int = 1) -> str:
        options = {"width": self.width, "depth": self.depth, "members": members}
        usual = {"depth": 2, "members": 1}
        return f"speednet({', '.join(f'{k}={v}' for k, v in options.items() if usual.get(k) != v)})"


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
