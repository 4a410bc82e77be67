"""fit: from an index and a recipe to a trained Classifier, in a folder that a stopped run continues from.

The five hops end here: index → plan → pack → loop → Classifier. The folder then is the saved classifier, with the run's
record (`folder.py`) and its `checkpoints/` beside it.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.files import lock
from shoebox.base.progress import QUIET, Progress, duration
from shoebox.base.recipe import MONITORS, Recipe
from shoebox.base.runtime import choose_runtime, derive_seed, give_back_memory, memory_kept
from shoebox.classifier import Classifier
from shoebox.data.index import ImageIndex
from shoebox.data.pack import Pack, Stream, pack
from shoebox.data.split import read_split, split
from shoebox.pipeline import Pipeline
from shoebox.training.budget import fit_to_time
from shoebox.training.clock import TimeClock
from shoebox.training.finish import best_checkpoint, finish
from shoebox.training.folder import data_of, filled_in, hold_equal, make_writable, write_down, write_history
from shoebox.training.leakproof import divide
from shoebox.training.loop import Diverged, Stopped, epochs, listening, look_ahead
from shoebox.training.planner import Plan, plan
from shoebox.training.session import Session, open_session
from shoebox.training.state import checkpoints, load_checkpoint, prune, save_checkpoint
from shoebox.training.transfer import open_transfer, outcome

ROLLBACKS = 3
"""How often a loss that is not finite sends a run back to its last checkpoint, at half the rate, before it gives up."""


def fit(
    index: ImageIndex,
    recipe: Recipe,
    folder: Path | str,
    *,
    resume: bool = False,
    device: str = "auto",
    cache: Path | None = None,
    started: float | None = None,
    reserve: Callable[[Pipeline, Pack | Stream], float] | None = None,
    progress: Progress = QUIET,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> tuple[Classifier, Pack | Stream]:
    """Train a classifier.

    Args:
        index: the labelled pictures; parts that are missing are split off as the recipe says.
        recipe: what to train; open fields are decided here and written down.
        folder: where the run lives; made if missing.
        resume: continue the run in `folder` from its last checkpoint; where there is none, start it.
        started: when the recipe's minutes began, on `time.monotonic`; by default now.
        reserve: measures how many of those seconds the caller needs once training is over; of a network from scratch
            called when training is under way.
        on_epoch: called with each epoch's figures.

    Returns:
        the classifier of the best epoch by the recipe's monitor on the validation part, saved in `folder`, and the
        pack it was trained on.

    Raises:
        UsageError: the pictures cannot be trained on (one class, no training part), the folder holds another run, or
            a resumed run's data or settings differ.
        Stopped: SIGINT or SIGTERM came; the state is saved and `resume=True` continues.
        ShoeboxError: the loss stayed not finite, the folder cannot be written, …
    """
    began = time.monotonic()
    folder = Path(folder)
    make_writable(folder)
    with lock(folder):
        previous = bool(checkpoints(folder / "checkpoints"))
        if previous and not resume:
            raise UsageError(f"{folder} holds a run already: add --resume to continue it, or choose another folder")
        index.require_classes(2)
        index = source = index.stamped()  # what is written down of the files is how they were before they were read
        if previous:
            index = read_split(index, folder / "split.csv")
        else:  # as good as the split to come for planning and packing, after which that is made
            index = split(index, validation=recipe.validation, test=recipe.test, seed=recipe.seed)
        made = plan(filled_in(folder, recipe) if previous else recipe, index)
        if previous:
            made = dataclasses.replace(made, preprocess=hold_equal(folder, made, index))
        packed = pack(index, made.preprocess, cache=cache, progress=progress)
        if not previous:
            index = divide(source, packed, recipe, progress=progress)
        packed.index.require_classes(2)
        halves = (made.recipe.model or "").startswith("speednet")
        runtime = choose_runtime(device, made.recipe.precision, halves=halves)
        end = (began if started is None else started) + 60 * recipe.minutes if recipe.minutes else None
        if not previous:
            made = with_measured_normalisation(made, packed)
        session = None
        if made.recipe.engine == "transfer":
            made, session = open_transfer(
                made,
                recipe,
                index,
                packed,
                folder,
                runtime,
                end=end,
                reserve=reserve,
                cache=cache,
                progress=progress,
                on_epoch=on_epoch,
            )
        with memory_kept():  # each of the planner's steps has that of the one before, and so has each of training's
            if session is None:
                if not previous:
                    if end is not None and made.recipe.model == "speednet":
                        made = fit_to_time(made, packed, runtime, end - time.monotonic(), progress)
                    write_down(folder, made, index, (*index.skipped, *packed.skipped))
                session = open_session(made, runtime, packed, folder / "checkpoints", progress)
                if end is not None:
                    clock = TimeClock(time.monotonic(), end - session.state.elapsed, session.state.elapsed)
                    session.clock = clock
                    if reserve:
                        session.set_aside = functools.partial(set_aside, clock=clock, reserve=reserve, packed=packed)
                        look_ahead(session)  # a resumed run may have no more time to train
            drain(session, folder, on_epoch)
        if made.recipe.engine == "transfer":
            progress.say(outcome(session))
        return finish(session, made, folder, data_of(folder)), packed


def set_aside(
    session: Session, *, clock: TimeClock, reserve: Callable[[Pipeline, Pack | Stream], float], packed: Pack | Stream
) -> None:
    """Have training end earlier than `clock` by what `reserve` measures, which itself is no part of training."""
    start = time.monotonic()
    give_back_memory()  # scoring's tensors are of other sizes than training's
    seconds = reserve(session.pipeline, packed)
    give_back_memory()
    session.paused = time.monotonic() - start
    session.clock = dataclasses.replace(clock, start=clock.start + session.paused, end=clock.end - seconds)


def drain(session: Session, folder: Path, on_epoch: Callable[[dict[str, float]], None] | None) -> None:
    """Run the loop to its end: a checkpoint after each epoch, roll-backs, a clean stop."""
    state, store = session.state, folder / "checkpoints"
    if not checkpoints(store):
        save_checkpoint(store, state, session.parts)
    with listening(session.stop):
        while True:
            try:
                for row in epochs(session):
                    save_checkpoint(store, state, session.parts)
                    if session.recipe.keep != "all":
                        prune(store, int(session.recipe.keep), best_checkpoint(store, state.best_epoch))
                    write_history(folder, state.history)
                    session.progress.say(epoch_line(row, session))
                    if on_epoch:
                        on_epoch(row)
                return
            except Diverged:
                roll_back(session, store)
            except Stopped as stopped:
                save_checkpoint(store, state, session.parts)
                where = f"stopped in epoch {state.epoch + 1} and saved; continue with --run {folder} --resume"
                raise Stopped(session.stop[0], where) from stopped
            except torch.OutOfMemoryError as e:
                raise ShoeboxError(
                    f"out of memory with {session.batch_size} pictures of {session.pipeline.size} px a step: try "
                    f"--set batch_size={max(1, session.batch_size // 2)} or a smaller --set size"
                ) from e


def roll_back(session: Session, store: Path) -> None:
    """Return to the last checkpoint and go on at half the learning rate.

    Raises:
        ShoeboxError: that has been tried `ROLLBACKS` times.
    """
    state = session.state
    rollbacks, rate = state.rollbacks + 1, state.rate / 2
    if rollbacks > ROLLBACKS:
        raise ShoeboxError(
            f"the loss is not a finite number, {ROLLBACKS} times over: try a smaller --set lr (it was "
            f"{session.recipe.lr}), or --set clip=1"
        )
    session.parts.seen.clear()
    before = load_checkpoint(checkpoints(store)[-1], session.parts)
    before.rollbacks, before.rate = rollbacks, rate
    vars(state).update(vars(before))
    session.progress.say(f"the loss is not a finite number: back to epoch {state.epoch}, at half the learning rate")


def with_measured_normalisation(made: Plan, packed: Pack | Stream) -> Plan:
    """Replace mean and std by those of up to 2,000 training pictures, where the recipe asks for the data's own."""
    if made.recipe.normalise != "data":
        return made
    rows = np.flatnonzero(packed.index.part == "train")
    draw = np.random.default_rng(derive_seed(made.recipe.seed, "normalisation")).permutation(rows)[:2000]
    pixels = packed.gather(np.sort(draw)).reshape(-1, 3).astype(np.float64) / 255
    mean, std = pixels.mean(0).round(5), pixels.std(0).clip(1e-3).round(5)
    preprocess = dataclasses.replace(made.preprocess, mean=tuple(mean.tolist()), std=tuple(std.tolist()))
    return dataclasses.replace(made, preprocess=preprocess)


def epoch_line(row: dict[str, float], session: Session) -> str:
    """What a person reads after each epoch."""
    state, monitor = session.state, session.recipe.monitor
    total = session.recipe.epochs
    parts = [f"epoch {row['epoch']}{f'/{total}' if total else ''}"]
    parts += [f"network {session.member} of {len(session.network.each())}"] if session.member else []
    parts += [f"train loss {row['train_loss']:.3f} accuracy {row['train_accuracy']:.3f}"]
    if "val_loss" in row:
        parts += [
            f"val loss {row['val_loss']:.3f} accuracy {row['val_accuracy']:.3f} macro F1 {row['val_macro_f1']:.3f}"
        ]
        parts[-1] += f" (best {monitor})" if state.best_epoch == row["epoch"] and monitor in MONITORS else ""
    parts += [f"{duration(row['seconds'])}, {row['pictures_per_second']:,.0f} pictures/s"]
    return " | ".join(parts)
