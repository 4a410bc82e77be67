"""Session: all that a step of training needs, put together once.

In: a plan, the pack, the runtime. Out: network, optimizer, schedule, augmentation and state, fresh or as a stopped run
left them.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.files import atomic_write
from shoebox.base.progress import Progress
from shoebox.base.recipe import Recipe
from shoebox.base.registry import parse_spec
from shoebox.base.replay import Replay, graphs_for
from shoebox.base.runtime import Runtime, derive_seed
from shoebox.data.augment import compose
from shoebox.data.batches import Packed, resident
from shoebox.data.draw import Draw
from shoebox.data.pack import Pack, Stream
from shoebox.models import MODELS, Pretrained, build_model, build_pretrained, find_architecture, load_weights
from shoebox.models.network import Network, freeze
from shoebox.models.summary import summary
from shoebox.pipeline import Pipeline
from shoebox.training.clock import Clock, UpdateClock
from shoebox.training.optimizer import build_optimizer, build_schedule
from shoebox.training.planner import Plan
from shoebox.training.state import Parts, TrainState, checkpoints, load_checkpoint

PREPARED_PIXELS, PREPARED_LEAST = 2000 * 32**2, 256
"""Pixels, and pictures at least, that a network is prepared with."""


@dataclass
class Session:
    """What a step needs.

    Attributes:
        network: what trains; the same object as in `pipeline` and `parts`.
        rows: by part ("train", "val"), the rows of the pack.
        sampling: weight of each training row for balanced sampling; None: every picture once an epoch.
        class_weights: (K,) of the loss, or None.
        schedule: from progress to a multiple of the peak learning rate.
        replay: runs a step's forward and backward pass.
        began: when this process put it together, on `time.monotonic`.
        validations: seconds that each validation of this process took.
        stop: numbers of the signals that asked the run to stop.
        side: of the pictures of the last step, px.
        moment: what `turn` gave last.
        member: which of several networks the last step trained, from 1; None where there is one, or no step yet.
        views: how many times `packed` holds every picture, one augmented look after the other.
        mend: makes a network whole again that was cut for training.
        set_aside: takes from the clock what will follow training; None once that is done, or where no time is given.
        paused: seconds of this epoch in which nothing was trained.
    """

    recipe: Recipe
    runtime: Runtime
    network: Network
    pipeline: Pipeline
    packed: Packed
    rows: dict[str, np.ndarray]
    sampling: np.ndarray | None
    class_weights: Tensor | None
    augment: Callable[[Tensor, Tensor, Draw], tuple[Tensor, Tensor]]
    schedule: Callable[[float], float]
    clock: Clock
    parts: Parts
    state: TrainState
    progress: Progress
    replay: Replay
    began: float = field(default_factory=time.monotonic)
    validations: list[float] = field(default_factory=list)
    stop: list[int] = field(default_factory=list)
    side: int = 0
    moment: float = 0.0
    member: int | None = None
    views: int = 1
    mend: Callable[[Network], Network] = lambda network: network
    set_aside: Callable[[Session], None] | None = None
    paused: float = 0.0

    @property
    def batch_size(self) -> int:
        """Pictures a step: the recipe's, or the whole training part where that is smaller."""
        return min(self.recipe.batch_size or 1, len(self.rows["train"]))

    def training_rows(self, epoch: int) -> np.ndarray:
        """The rows of the training part in the look whose turn it is."""
        count = len(self.packed.index) // self.views
        return self.rows["train"] + epoch % self.views * count

    @property
    def share(self) -> float:
        """How much of training is done, 0 to 1; 0 before the first update, whatever the time."""
        return min(1.0, self.clock.progress(self.state.updates)) if self.state.updates else 0.0

    def turn(self) -> float:
        """Let the network train what is due now; how much of that is done, 0 to 1."""
        share, average = self.share, getattr(self.parts.average, "module", None)
        if isinstance(average, Network):
            average.turn(share)
        self.moment = self.network.turn(share)
        return self.moment

    @property
    def steps(self) -> int:
        """Batches in a whole epoch; a last batch that is not full is left out."""
        return len(self.rows["train"]) // self.batch_size


def open_session(plan: Plan, runtime: Runtime, packed: Pack | Stream, store: Path, progress: Progress) -> Session:
    """Build everything, and continue from the newest readable checkpoint in `store` if there is one."""
    recipe = plan.recipe
    torch.manual_seed(derive_seed(recipe.seed, "weights"))
    network = build_network(recipe, len(packed.index.classes), plan.preprocess.size, progress)
    if len(network.each()) > 1 and (recipe.patience is not None or recipe.schedule.startswith("plateau")):
        raise UsageError(
            f"{recipe.model} trains one network after the other, and while one trains the answers stay those of the "
            "others, so patience or a plateau would end it: set members=1, or another schedule and no patience"
        )
    trains = freeze(network, recipe.trainable or "all")
    pipeline = Pipeline(network, plan.preprocess).place(runtime.device)
    session = assemble(plan, runtime, pipeline, packed, store, progress)
    show_layers(network, plan.preprocess.size, store.parent / "layers.txt", progress)
    progress.say(
        f"{recipe.model}: {sum(p.numel() for p in network.parameters()):,} parameters, {trains:,} of them training, "
        f"{plan.preprocess.size} px, {session.batch_size} pictures a step, on {runtime.reason}"
    )
    return session


def assemble(
    plan: Plan,
    runtime: Runtime,
    pipeline: Pipeline,
    packed: Packed,
    store: Path,
    progress: Progress,
    *,
    views: int = 1,
    mend: Callable[[Network], Network] = lambda network: network,
) -> Session:
    """A session around a pipeline whose network knows already what trains; continued from `store` if it can be.

    Args:
        packed: pictures, or what stands for them; each `views` times over.
        mend: makes a network whole again that was cut for training.
    """
    recipe, index, network = plan.recipe, packed.index, pipeline.network
    once = index.part[: len(index) // views]
    rows = {part: np.flatnonzero(once == part) for part in ("train", "val")}
    classes = len(index.classes)
    optimizer = build_optimizer(recipe.optimizer or "adamw", network, recipe.lr, recipe.weight_decay)
    swa = torch.optim.swa_utils
    average = swa.AveragedModel(network, multi_avg_fn=swa.get_ema_multi_avg_fn(recipe.ema)) if recipe.ema else None
    parts = Parts(network, optimizer, average, {})
    state = resume(store, parts, progress)
    if state is None:
        state = TrainState()
        if type(network).prepare is not Network.prepare:
            few = max(PREPARED_LEAST, PREPARED_PIXELS // plan.preprocess.size**2)
            draw = np.random.default_rng(derive_seed(recipe.seed, "prepare")).permutation(rows["train"])[:few]
            pictures = torch.from_numpy(packed.gather(np.sort(draw))).permute(0, 3, 1, 2).to(runtime.device)
            with torch.no_grad():
                network.prepare(pipeline.inputs(pictures))
    packed = resident(packed, runtime.device)
    labels = index.labels[rows["train"]]
    even = even_weights(labels, classes)
    # Who adds up gradients is short of memory, and a recording keeps what a step needs beside what the others need.
    graphs = graphs_for(runtime.device, progress) if network.repeats and recipe.accumulate == 1 else None
    session = Session(
        recipe=recipe,
        runtime=runtime,
        network=network,
        pipeline=pipeline,
        packed=packed,
        rows=rows,
        sampling=even[labels] if recipe.sampling == "balanced" else None,
        class_weights=torch.from_numpy(even).float().to(runtime.device) if recipe.class_weights == "balanced" else None,
        augment=compose(recipe.augment or ()),
        schedule=build_schedule(recipe.schedule, recipe.warmup),
        clock=UpdateClock(1),
        parts=parts,
        state=state,
        progress=progress,
        replay=Replay(network, graphs, progress),
        views=views,
        mend=mend,
    )
    session.clock = UpdateClock((recipe.epochs or 1) * session.steps)
    return session


def build_network(recipe: Recipe, classes: int, size: int, progress: Progress) -> Network:
    """The recipe's network: with published or given weights where the recipe asks for them, else fresh."""
    model, weights = recipe.model or "speednet", Path(recipe.weights) if recipe.weights else None
    name = parse_spec(model)[0]
    found = None if name in MODELS else find_architecture(name)
    if found and (weights or recipe.pretrained):
        network = build_pretrained(*found, classes, weights=weights, size=size)
        progress.say(f"weights: {network.origin}" if isinstance(network, Pretrained) else "")
        return network
    if recipe.pretrained:
        raise UsageError(f"{model} has no published weights: name a network of timm:, torchvision: or hf:")
    network = build_model(model, classes=classes, size=size)
    if weights:
        progress.say(f"weights: {load_weights(network, weights)}")
    return network


def show_layers(network: Network, size: int, path: Path, progress: Progress, most: int = 60) -> None:
    """Write the layer table to a file, and show it where it is not longer than a screen or two."""
    whole = copy.deepcopy(network).to("cpu")
    whole.turn(1.0)  # a resumed run's network may not all have trained yet
    layers = summary(whole, size)
    with atomic_write(path, "w") as file:
        file.write(f"{layers}\n")
    progress.say(str(layers) if len(layers.rows) <= most else f"{len(layers.rows)} layers, listed in {path}")


def resume(store: Path, parts: Parts, progress: Progress) -> TrainState | None:
    """Read the newest checkpoint that is whole into `parts`; None where there is none at all.

    Raises:
        ShoeboxError: there are checkpoints and not one can be read.
    """
    found = checkpoints(store)
    for path in reversed(found):
        try:
            state = load_checkpoint(path, parts)
        except ShoeboxError as e:
            progress.say(f"{e}; trying the one before it")
            continue
        progress.say(f"continuing after {state.epoch} epochs and {state.step} steps")
        return state
    if found:
        raise ShoeboxError(f"none of the {len(found)} checkpoints in {store} can be read: start anew in another folder")
    return None


def even_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weights (K,) that make every class count the same, 1 on average over the pictures; 0 for an empty class."""
    counts = np.bincount(labels, minlength=classes)
    present = counts > 0
    weights: np.ndarray = np.where(present, len(labels) / (present.sum() * np.maximum(counts, 1)), 0.0)
    return weights
