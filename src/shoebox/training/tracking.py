"""Tracking: what a run reports of itself while it trains, to TensorBoard, MLflow or Weights & Biases.

In: the run's folder and recipe, each epoch's figures, and at the end its result and its pictures of results. Out: what
those tools show. Each is a function in `TRACKERS`; `open_trackers` opens those a recipe asks for.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import math
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

from shoebox.base.errors import MissingExtra
from shoebox.base.files import atomic_write
from shoebox.base.recipe import Recipe
from shoebox.base.registry import Registry
from shoebox.base.runtime import derive_seed

Row = dict[str, float]


class Tracker(Protocol):
    """One tool that a run reports to."""

    def epoch(self, row: Row) -> None:
        """The figures of one epoch; `row["epoch"]` counts from 1."""

    def end(self, figures: Row, pictures: Sequence[Path]) -> None:
        """The figures of the finished run ("test_accuracy", …) and its figures as PNG files."""

    def close(self) -> None:
        """The run is over, finished or not."""


TRACKERS: Registry[Callable[..., Tracker]] = Registry("tracker")
"""Functions (the run's folder, the settings of its recipe as plain values) -> Tracker.

One raises MissingExtra where its library is not installed, and writes nothing before the first epoch.
"""


class Trackers:
    """All that a run reports to, as one."""

    def __init__(self, opened: Sequence[Tracker], on_epoch: Callable[[Row], None] | None) -> None:
        self.opened, self.on_epoch = opened, on_epoch

    def epoch(self, row: Row) -> None:
        """Report an epoch, to the caller last: it may end the run."""
        for tracker in self.opened:
            tracker.epoch(row)
        if self.on_epoch:
            self.on_epoch(row)

    def end(self, result: Mapping[str, Any], pictures: Sequence[Path]) -> None:
        """Report a finished run: its result as `train` gives it, and its figures."""
        parts = {part: result.get(part) or {} for part in ("val", "test")}
        figures = {f"{part}_{name}": value for part, values in parts.items() for name, value in values.items()}
        for tracker in self.opened:
            tracker.end(figures, pictures)


@contextlib.contextmanager
def open_trackers(recipe: Recipe, folder: Path, on_epoch: Callable[[Row], None] | None = None) -> Iterator[Trackers]:
    """Open what the recipe names in `tracking`, and TensorBoard where it is installed and not switched off.

    Args:
        on_epoch: told of each epoch too.

    Raises:
        UsageError: the recipe names a tracker that there is not.
        MissingExtra: one that it names needs a library that is not installed.
    """
    names = list(recipe.tracking)
    if recipe.tensorboard and "tensorboard" not in names and _installed("tensorboard"):
        names.append("tensorboard")
    for name in names:
        TRACKERS.check(name)
    with contextlib.ExitStack() as stack:
        opened: list[Tracker] = []
        for name in names:
            opened.append(TRACKERS.build(name, folder, recipe.model_dump(mode="json")))
            stack.callback(opened[-1].close)
        yield Trackers(opened, on_epoch)


class TensorBoard:
    """Event files in RUN/tensorboard: `tensorboard --logdir runs` shows every run below it side by side."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder, self.settings = folder / "tensorboard", settings

    @functools.cached_property
    def writer(self) -> Any:
        """Made with the first epoch, so that a run that is refused leaves nothing."""
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(str(self.folder))
        writer.add_text("recipe", "".join(f"    {key}: {value}\n" for key, value in self.settings.items()))
        return writer

    def epoch(self, row: Row) -> None:
        """A curve a figure, train and validation of the same figure next to each other."""
        for name, value in row.items():
            if name != "epoch":
                part, _, figure = name.partition("_")
                self.writer.add_scalar(f"{figure}/{part}" if part in ("train", "val") else name, value, row["epoch"])
        self.writer.flush()

    def end(self, figures: Row, pictures: Sequence[Path]) -> None:
        """The figures of the finished run as scalars, its pictures as images."""
        for name, value in figures.items():
            self.writer.add_scalar(f"finished/{name}", value, 0)
        from tensorboard.compat.proto.summary_pb2 import Summary

        for path in pictures:
            # The file as it is: `add_image` would pack its pixels anew, which takes seconds.
            data = path.read_bytes()
            width, height = struct.unpack(">II", data[16:24])
            image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=data)
            self.writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=path.stem, image=image)]), 0)

    def close(self) -> None:
        """Write what is left."""
        if "writer" in self.__dict__:
            self.writer.close()


class MLflow:
    """A run in MLflow, where MLFLOW_TRACKING_URI says; a resumed run goes on in the same one."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder, self.settings, self.started = folder, settings, False

    def epoch(self, row: Row) -> None:
        """Every figure at its epoch."""
        self._api().log_metrics(_finite(row, without="epoch"), step=int(row["epoch"]))

    def end(self, figures: Row, pictures: Sequence[Path]) -> None:
        """The figures of the finished run, its pictures as artifacts."""
        self._api().log_metrics(_finite(figures))
        for path in pictures:
            self._api().log_artifact(str(path), "results")

    def close(self) -> None:
        """End MLflow's run."""
        if self.started:
            self._api().end_run()

    def _api(self) -> Any:
        """The library, once its run has been started."""
        import mlflow

        if not self.started:
            kept = self.folder / "mlflow-run"
            known = kept.read_text(encoding="utf-8") if kept.is_file() else None
            run = mlflow.start_run(run_id=known, run_name=None if known else self.folder.name)
            self.started = True
            if known is None:
                mlflow.log_params(self.settings)
                with atomic_write(kept, "w") as file:
                    file.write(run.info.run_id)
        return mlflow


class WandB:
    """A run in Weights & Biases, in the project that WANDB_PROJECT names; a resumed run goes on in the same one."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder, self.settings = folder, settings

    @functools.cached_property
    def run(self) -> Any:
        """Started with the first epoch; its id follows from the folder."""
        import wandb

        number = f"{derive_seed(str(self.folder.resolve())):x}"
        return wandb.init(id=number, resume="allow", name=self.folder.name, dir=str(self.folder), config=self.settings)

    def epoch(self, row: Row) -> None:
        """Every figure at its epoch."""
        self.run.log(_finite(row, without="epoch"), step=int(row["epoch"]))

    def end(self, figures: Row, pictures: Sequence[Path]) -> None:
        """The figures of the finished run as its summary, its pictures beside them."""
        import wandb

        self.run.summary.update(_finite(figures))
        self.run.log({path.stem: wandb.Image(str(path)) for path in pictures})

    def close(self) -> None:
        """End the run."""
        if "run" in self.__dict__:
            self.run.finish()


@TRACKERS.register
def tensorboard(folder: Path, settings: dict[str, Any]) -> Tracker:
    """TensorBoard's event files."""
    return TensorBoard(folder, settings) if _installed("tensorboard") else _missing("tensorboard")


@TRACKERS.register
def mlflow(folder: Path, settings: dict[str, Any]) -> Tracker:
    """MLflow."""
    return MLflow(folder, settings) if _installed("mlflow") else _missing("mlflow")


@TRACKERS.register
def wandb(folder: Path, settings: dict[str, Any]) -> Tracker:
    """Weights & Biases."""
    return WandB(folder, settings) if _installed("wandb") else _missing("wandb")


def _installed(library: str) -> bool:
    return library in sys.modules or importlib.util.find_spec(library) is not None


def _missing(library: str) -> NoReturn:
    raise MissingExtra(library, library)


def _finite(row: Row, without: str = "") -> Row:
    """The figures that are numbers; a tool's page stumbles over nan."""
    return {name: value for name, value in row.items() if name != without and math.isfinite(value)}
