"""The loop: epochs of steps, a validation after each. A generator that `fit` drains.

In: a `Session`, which holds everything a step needs. Out: one `Epoch` at a time, after the weights have moved.
"""

import contextlib
import functools
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from shoebox.base.errors import ShoeboxError
from shoebox.base.recipe import MONITORS, Recipe
from shoebox.base.runtime import derive_seed, give_back_memory
from shoebox.data.batches import Batch, batches, order
from shoebox.data.draw import Draw
from shoebox.evaluation.metrics import measure
from shoebox.models.network import set_training
from shoebox.training.clock import side_at
from shoebox.training.optimizer import SCHEDULES
from shoebox.training.session import Session
from shoebox.training.state import TrainState

SEEN_BYTES = 200_000_000
"""Logits of an epoch's training pictures are kept for its figures up to this size; then the first stand for all."""

VALIDATING = 0.02
"""Share of given minutes that validations after epochs may take."""
UNDER_WAY = 0.05
"""Share of given minutes after which it is measured how much of them what follows training takes, so that training
begins at once."""

LONG = 20.0
"""Seconds of an epoch after which memory that nothing uses is given back. Scattered between what is used, it grew by a
quarter in 40 steps (width 0.875, depth 3, 32 px). Having it again takes a third of a step."""


class Diverged(Exception):
    """The loss is no longer a finite number."""


class Stopped(ShoeboxError):
    """A person or the system asked the run to stop; its state has been saved."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


def epochs(session: Session) -> Iterator[dict[str, float]]:
    """Train epoch after epoch until the clock or the plan ends, giving each epoch's figures.

    Raises:
        Diverged: the loss is not finite; the weights are then of no use.
        Stopped: a signal came; the state stands between two steps.
    """
    state, recipe = session.state, session.recipe
    while state.step or not state.history or not over(session) or unvalidated(session) or unanswered(session):
        start, first, session.paused = time.monotonic(), state.step, 0.0
        try:
            trained = train_epoch(session)
        except Stopped:
            state.elapsed += time.monotonic() - start - session.paused
            raise
        moment = session.turn()
        seconds = time.monotonic() - start - session.paused
        pictures = (state.step - first) * session.batch_size
        row: dict[str, float] = {"epoch": state.epoch + 1}
        row |= {f"train_{name}": value for name, value in trained.items()}
        if seconds >= LONG:
            give_back_memory()
        if due(session):
            row |= {f"val_{name}": value for name, value in validate(session).items()}
            if seconds >= LONG:
                give_back_memory()  # its tensors are of other sizes than training's
        state.epoch, state.step = state.epoch + 1, 0
        state.elapsed += time.monotonic() - start - session.paused
        row |= {"lr": rates(session, moment)[0], "seconds": seconds, "pictures_per_second": pictures / seconds}
        if "val_loss" in row or not len(session.rows["val"]):
            judge(row, state, recipe)
        state.history.append(row)
        yield row


def train_epoch(session: Session) -> dict[str, float]:
    """The steps of one epoch (from `state.step` on), and the figures of the pictures as training saw them."""
    state, parts, pipeline = session.state, session.parts, session.pipeline
    set_training(pipeline.network, statistics=session.recipe.batchnorm == "train")
    rows, device = session.training_rows(state.epoch), session.runtime.device
    drawn = order(len(rows), seed=session.recipe.seed, epoch=state.epoch, weights=session.sampling)
    stream = batches(
        session.packed, rows[drawn], batch_size=session.batch_size, device=device, drop_last=True, start=state.step
    )
    label = f"epoch {state.epoch + 1}"
    for batch in session.progress.track(stream, session.steps - state.step, label):
        update(session, batch)
        state.step, state.updates = state.step + 1, state.updates + 1
        if settled(session, state.step):
            look_ahead(session)
            if session.stop:
                raise Stopped(session.stop[0], "stopped")
        if session.clock.progress(state.updates) >= 1:
            break
    labels, logits = (torch.cat([kept.cpu() for kept in parts.seen[name]]).numpy() for name in ("labels", "logits"))
    figures = measure(labels, logits)
    parts.seen.clear()
    if not np.isfinite(figures["loss"]):
        raise Diverged
    return figures


def look_ahead(session: Session) -> None:
    """Once, when training is under way: take from its time what follows it."""
    if session.set_aside and session.share >= UNDER_WAY:
        set_aside, session.set_aside = session.set_aside, None
        set_aside(session)


def update(session: Session, batch: Batch) -> None:
    """One step: augment, forward, backward, move."""
    recipe, state, parts = session.recipe, session.state, session.parts
    seed = derive_seed(recipe.seed, state.epoch, state.step)
    # Both generators: the augmentations draw from their own, dropout from torch's global one.
    torch.manual_seed(seed)
    generator = torch.Generator(session.runtime.device).manual_seed(seed)
    classes = len(session.packed.index.classes)
    rows = torch.from_numpy(batch.rows).to(batch.labels.device, non_blocking=True)
    targets = F.one_hot(batch.labels, classes).float()
    pictures, targets = session.augment(batch.pictures, targets, Draw(generator, state.epoch, rows))
    moment = session.turn()  # once a step: a clock goes on while it computes
    session.member = session.network.member()
    for parameter in session.pipeline.network.resting(moment):
        parameter.requires_grad_(False)
    side = side_at(moment, session.pipeline.size, recipe.grow or 1.0)
    if side != session.side:
        if session.side:
            give_back_memory()
        session.side = side
    inputs = session.pipeline.inputs(pictures, side)
    logits = session.replay.run(functools.partial(passes, session), session.member, inputs, targets)
    keep_seen(parts.seen, logits, batch.labels)
    if not settled(session, state.step + 1):
        return
    if recipe.clip:
        torch.nn.utils.clip_grad_norm_(session.pipeline.network.parameters(), recipe.clip)
    for group, rate in zip(parts.optimizer.param_groups, rates(session, moment), strict=True):
        group["lr"] = rate
    parts.optimizer.step()
    parts.optimizer.zero_grad(set_to_none=True)
    if isinstance(parts.average, torch.optim.swa_utils.AveragedModel):
        parts.average.update_parameters(session.pipeline.network)


def passes(session: Session, inputs: Tensor, targets: Tensor) -> Tensor:
    """Forward and backward: the logits (N, K) float32. The gradients of the loss are added to the parameters'."""
    recipe = session.recipe
    with session.runtime.autocast():
        logits: Tensor = session.pipeline.network(inputs).float()
    loss = F.cross_entropy(logits, targets, session.class_weights, label_smoothing=recipe.label_smoothing)
    (loss / recipe.accumulate).backward()
    return logits.detach()


def due(session: Session) -> bool:
    """Whether a validation follows now: after each epoch; where minutes are given, only after the last one and as often
    as leaves them `VALIDATING` of the time, unless training depends on what validations say, as fine-tuning does, whose
    best epoch may be any and must beat the probe."""
    recipe = session.recipe
    if not len(session.rows["val"]):
        return False
    stops = recipe.accuracy is not None or recipe.patience is not None
    depends = stops or recipe.schedule.startswith("plateau") or recipe.engine == "transfer"
    if depends or not recipe.minutes or session.share >= 1 or not session.validations:
        return True
    another = sum(session.validations) + session.validations[-1]
    return another <= VALIDATING * (time.monotonic() - session.began)


def unvalidated(session: Session) -> bool:
    """Whether the weights as they are were left without figures: a run stopped there goes on to get them."""
    return bool(len(session.rows["val"])) and "val_loss" not in session.state.history[-1]


def unanswered(session: Session) -> bool:
    """Whether time ended between the last step and now, and the last of several networks was not yet let answer."""
    several = len(session.network.each()) > 1
    return several and session.moment < 1 and session.clock.progress(session.state.updates) >= 1


@torch.no_grad()
def validate(session: Session) -> dict[str, float]:
    """The figures on the validation part, of the averaged weights where there are any."""
    start = time.monotonic()
    network = session.parts.average or session.pipeline.network
    network.eval()
    logits, labels = [], []
    size = session.pipeline.at_once()
    for batch in batches(session.packed, session.rows["val"], batch_size=size, device=session.runtime.device):
        with session.runtime.autocast():
            logits.append(network(session.pipeline.inputs(batch.pictures)).float())
        labels.append(batch.labels)
    figures = measure(torch.cat(labels).cpu().numpy(), torch.cat(logits).cpu().numpy())
    session.validations.append(time.monotonic() - start)
    return figures


def rates(session: Session, moment: float) -> list[float]:
    """The learning rate of each parameter group once this share of training is done."""
    scale = session.state.rate * session.schedule(moment)
    return [group["peak"] * scale for group in session.parts.optimizer.param_groups]


def judge(row: dict[str, float], state: TrainState, recipe: Recipe) -> None:
    """Note whether this epoch is the best so far, and lower the rate on a plateau."""
    value = row.get(f"val_{recipe.monitor}", row[f"train_{recipe.monitor}"])
    sign = MONITORS[recipe.monitor]
    chosen = f"val_{recipe.monitor}" in row and state.best_value is not None and np.isfinite(state.best_value)
    if not chosen or sign * value > sign * (state.best_value or 0.0):
        state.best_epoch, state.best_value, state.stale = state.epoch, value, 0
        return
    state.stale += 1
    name, options = SCHEDULES.check(recipe.schedule)
    if name == "plateau":
        settings: dict[str, Any] = {**SCHEDULES.options(name), **options}
        if state.stale % settings["patience"] == 0:
            state.rate *= settings["factor"]


def over(session: Session) -> bool:
    """Whether training has ended: the plan is done, the time is up, enough is reached, or patience has run out."""
    state, recipe = session.state, session.recipe
    reached = (
        recipe.accuracy is not None
        and bool(state.history)
        and state.history[-1].get("val_accuracy", 0.0) >= recipe.accuracy
    )
    impatient = recipe.patience is not None and state.stale >= recipe.patience
    return reached or impatient or session.clock.progress(state.updates) >= 1


def settled(session: Session, step: int) -> bool:
    """Whether after `step` batches of an epoch no gradient is waiting for an update."""
    return step % session.recipe.accumulate == 0 or step == session.steps


def keep_seen(seen: dict[str, list[Tensor]], logits: Tensor, labels: Tensor) -> None:
    """Keep a step's logits and labels for the epoch's figures, within `SEEN_BYTES`."""
    kept = seen.setdefault("logits", [])
    if not kept or sum(map(len, kept)) * logits.shape[1] * 4 < SEEN_BYTES:
        kept.append(logits)  # on the device: fetching them would wait for it
        seen.setdefault("labels", []).append(labels)


@contextlib.contextmanager
def listening(stop: list[int]) -> Iterator[None]:
    """Within the block, SIGINT and SIGTERM are noted in `stop` instead of ending the process.

    Outside the main thread Python cannot listen; the block then changes nothing.
    """

    def note(number: int, frame: FrameType | None) -> None:
        stop.append(number)

    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
    except ValueError:
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
