"""sweep: many short trainings that differ in a few settings, chosen by Optuna, the best of them kept.

In: pictures, a recipe, the fields to vary. Out: a folder with a run a trial, the study, its table and figures. The same
command again continues a sweep that was stopped or killed, or joins one that is running, on this machine or, through a
storage URL, on another: a trial whose process has died is queued again, and goes on from its last checkpoint.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.files import lock
from shoebox.base.progress import QUIET, Progress
from shoebox.base.recipe import MONITORS, Recipe
from shoebox.base.tables import writer
from shoebox.data.index import ImageIndex
from shoebox.data.sources import open_source
from shoebox.scale.drawing import sweep_figures
from shoebox.scale.space import Span, parse_spans
from shoebox.scale.study import opened, rank, requeue, tries
from shoebox.training.fit import fit
from shoebox.training.loop import Stopped
from shoebox.training.train import train

if TYPE_CHECKING:
    import optuna

WAIT = 2.0
"""Seconds between looks at trials that other processes are running."""


class Failed(Exception):
    """A trial that could not be trained: the sweep goes on without it."""


class OutOfTime(Exception):
    """The sweep's minutes are over; the trial waits for whoever continues the sweep."""


@dataclass(frozen=True)
class Sweep:
    """What every trial shares.

    Attributes:
        index: the pictures.
        recipe: what is not varied.
        spans: what is.
        folder: of the sweep; trial n lives in trials/n.
        trials: how many there are to be, over all processes.
        deadline: on `time.monotonic`, when no more is to be done.
    """

    index: ImageIndex
    recipe: Recipe
    spans: tuple[Span, ...]
    folder: Path
    trials: int
    deadline: float
    device: str
    cache: Path | None
    progress: Progress

    def place(self, root: int) -> Path:
        """The run of a trial."""
        return self.folder / "trials" / f"{root:03d}"

    def run(self, trial: optuna.Trial) -> float:
        """Train one trial and give its best validation value; the objective of the study."""
        import optuna

        root = int(trial.user_attrs.get("of", trial.number))
        number = rank(trial.study, root) + 1
        if number > self.trials:
            trial.set_user_attr("surplus", True)
            raise Failed("another process has begun the last trial")
        settings = {span.field: span.suggest(trial) for span in self.spans}
        said = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        self.progress.say(f"\ntrial {number} of {self.trials}: {said}")
        monitor = f"val_{self.recipe.monitor}"

        def report(row: dict[str, float]) -> None:
            trial.report(row[monitor], int(row["epoch"]))
            if trial.should_prune():
                raise optuna.TrialPruned
            if time.monotonic() > self.deadline:
                raise OutOfTime

        folder = self.place(root)
        try:
            classifier, _ = fit(
                self.index,
                self.recipe.override(settings),
                folder,
                resume=folder.exists(),
                device=self.device,
                cache=self.cache,
                progress=self.progress,
                on_epoch=report,
            )
        except Stopped:
            raise
        except ShoeboxError as e:
            trial.set_user_attr("error", str(e))
            self.progress.say(f"trial {number} failed: {e}")
            raise Failed from e
        # The card holds the figures of the best epoch, those before a resumption included.
        return float(classifier.card["val"][self.recipe.monitor])


def sweep(
    data: str | Path | ImageIndex,
    recipe: Recipe | str | Path = "fast",
    *,
    over: Sequence[str],
    trials: int = 20,
    minutes: float | None = None,
    run: Path | str | None = None,
    storage: str | None = None,
    device: str = "auto",
    cache: Path | None = None,
    progress: Progress = QUIET,
    **settings: Any,
) -> dict[str, Any]:
    """Search settings.

    Args:
        data: anything `open_source` understands.
        recipe: what every trial shares; its monitor on the validation part is what is searched for. The test part is
            looked at once, by the best trial at the end.
        over: the fields to vary, as `shoebox.scale.space` reads them.
        trials: how many in all, those of earlier and of other processes included.
        minutes: after these the trial under way is set aside and the sweep ends; by default never.
        run: the sweep's folder, made if missing; by default `runs/<data>-sweep`.
        storage: an SQLAlchemy URL that Optuna understands; by default a SQLite file in the folder.
        settings: fields of the recipe to replace.

    Returns:
        run (folder), monitor, states (how many trials ended how), best (run, value, settings; None if no trial was
        completed), figures, table.

    Raises:
        UsageError: the fields make no sense, the recipe has no validation part, or the folder holds another sweep.
        MissingExtra: optuna is not installed.
        Stopped: SIGINT or SIGTERM came: the trial under way is saved and queued again.
    """
    spans = parse_spans(over)
    recipe = (recipe if isinstance(recipe, Recipe) else Recipe.load(recipe)).override(settings)
    if trials < 1:
        raise UsageError(f"trials={trials}: expected 1 or more")
    deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
    index = data if isinstance(data, ImageIndex) else open_source(data, cache=cache, progress=progress)
    if recipe.validation == 0 and not (index.part == "val").any():
        raise UsageError("a sweep needs a validation part to compare its trials on: leave validation above 0")
    folder = Path(run) if run is not None else Path("runs") / f"{index.root.name}-sweep"
    (folder / "trials").mkdir(parents=True, exist_ok=True)
    what = {"data": index.fingerprint(), "recipe": recipe.model_dump(mode="json"), "over": [str(s) for s in spans]}
    direction: Literal["maximize", "minimize"] = "maximize" if MONITORS[recipe.monitor] > 0 else "minimize"
    made = Sweep(index, recipe, spans, folder, trials, deadline, device, cache, progress)
    with opened(folder, storage, what, direction=direction, seed=recipe.seed) as study:
        try:
            work(study, made)
        except OutOfTime:
            progress.say("the time is up; the same command goes on")
        return conclude(study, made)


def work(study: optuna.Study, made: Sweep) -> None:
    """Run trials until all are done, here or elsewhere, or the time is up."""
    import optuna

    running, waiting = optuna.trial.TrialState.RUNNING, optuna.trial.TrialState.WAITING
    current = -1

    def objective(trial: optuna.Trial) -> float:
        nonlocal current
        current = trial.number
        return made.run(trial)

    while time.monotonic() < made.deadline:
        optuna.storages.fail_stale_trials(study)
        last = [found[-1].state for found in tries(study).values()]
        if waiting in last or len(last) < made.trials:
            try:
                study.optimize(objective, n_trials=1, catch=(Failed,))
            except (OutOfTime, Stopped):
                requeue(study, study.trials[current])
                raise
        elif running in last:
            time.sleep(WAIT)  # another process trains it; should that one die, this one takes over
        else:
            return


def conclude(study: optuna.Study, made: Sweep) -> dict[str, Any]:
    """Write the table and the figures; where every trial is done, keep the best run like any other, and of the others
    only what they scored."""
    found = tries(study)
    last = {root: trials[-1] for root, trials in found.items()}
    states: dict[str, int] = {}
    for trial in last.values():
        states[trial.state.name.lower()] = states.get(trial.state.name.lower(), 0) + 1
    done = {root: trial for root, trial in last.items() if trial.state.name == "COMPLETE"}
    sign = MONITORS[made.recipe.monitor]
    root = max(done, key=lambda key: sign * (done[key].value or 0.0), default=None)
    result: dict[str, Any] = {"run": str(made.folder), "monitor": made.recipe.monitor, "states": states, "best": None}
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock(made.folder))
        except ShoeboxError:
            made.progress.say("another process of this sweep is writing its results")
        else:
            result["table"] = str(write_table(made.folder / "sweep.csv", last, made.spans))
            result["figures"] = [
                str(path) for path in sweep_figures(made.folder, study, made.spans, made.recipe.monitor)
            ]
            if root is not None and len(last) >= made.trials and not states.keys() & {"running", "waiting"}:
                keep(made, root, last)
    if root is not None:
        settings = {span.field: span.value(done[root].params[span.field]) for span in made.spans}
        result["best"] = {"run": str(made.place(root)), "value": done[root].value, "settings": settings}
    return result


def summary(result: dict[str, Any]) -> str:
    """A sweep in a few lines for a person."""
    lines = [", ".join(f"{count} {state}" for state, count in sorted(result["states"].items())) or "no trial yet"]
    if best := result["best"]:
        settings = ", ".join(f"{name}={value!r}" for name, value in best["settings"].items())
        lines += [
            f"best: {result['monitor']} {best['value']:.4f} on validation with {settings}",
            f"its run: {best['run']}",
        ]
    return "\n".join([*lines, f"table and figures: {result['run']}"])


def keep(made: Sweep, root: int, last: dict[int, optuna.trial.FrozenTrial]) -> None:
    """Finish the best trial as `train` does (scores, figures, card); take weights and checkpoints from the others."""
    best = made.place(root)
    if not (best / "result.json").is_file():
        settings = {span.field: span.value(last[root].params[span.field]) for span in made.spans}
        train(
            made.index,
            made.recipe.override(settings),
            run=best,
            resume=True,
            device=made.device,
            cache=made.cache,
            progress=made.progress,
        )
    for other in last:
        if other != root:
            shutil.rmtree(made.place(other) / "checkpoints", ignore_errors=True)
            (made.place(other) / "model.safetensors").unlink(missing_ok=True)


def write_table(path: Path, last: dict[int, optuna.trial.FrozenTrial], spans: Sequence[Span]) -> Path:
    """A row a trial: trial, state, value, epochs, seconds, then the settings."""
    columns = ["trial", "state", "value", "epochs", "seconds", *(span.field for span in spans)]
    with writer(path, columns) as add:
        for root, trial in sorted(last.items()):
            row = {"trial": root, "state": trial.state.name.lower(), "epochs": len(trial.intermediate_values)}
            row |= {span.field: trial.params[span.field] for span in spans if span.field in trial.params}
            if trial.value is not None:
                row["value"] = trial.value
            if trial.duration is not None:
                row["seconds"] = round(trial.duration.total_seconds(), 2)
            add(row)
    return path
