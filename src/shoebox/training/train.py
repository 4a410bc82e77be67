"""train: the main job, end to end. Pictures in; a classifier, its scores and its figures out.

In: anything `open_source` understands, and a recipe. Out: a `Run`, and the folder it lives in.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shoebox.base.errors import UsageError
from shoebox.base.files import atomic_write
from shoebox.base.progress import QUIET, Progress, duration
from shoebox.base.recipe import Recipe
from shoebox.classifier import Classifier
from shoebox.data.index import ImageIndex
from shoebox.data.pack import Pack, Stream, pack
from shoebox.data.sources import open_source
from shoebox.data.split import split
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.figures import class_distribution, write_figures
from shoebox.evaluation.results import augmentation_grid, evenly, write_pictures, write_results
from shoebox.models.folding import fold
from shoebox.pipeline import Pipeline
from shoebox.training.choose import choose_recipe, recipe_of
from shoebox.training.fit import fit
from shoebox.training.leakproof import naive_claim
from shoebox.training.planner import plan
from shoebox.training.scoring import score_parts
from shoebox.training.tracking import open_trackers

RESULTS, RESULTS_A_PICTURE = 15.0, 0.0008
"""Time set aside for saving, metrics, intervals, tables, figures and leaving, where drawing one takes a second: nearly
all of it is Python's, and of the same kind. On an older AMD EPYC, where it took 0.26 to 0.46 s, what followed training
took, beyond the scoring foreseen, 5.2 to 5.4 s for 360 pictures and 6.2 to 9.6 s for 12,500."""
USUAL, NEAR, DOUBTED = 0.34, 1.5, 1 / 3
"""Seconds of a drawing on that machine, whose pace swings within a minute by as much as `NEAR`: so much (of its
logarithm) of how far a drawing's time is from the usual one is taken for chance. In six runs of a minute what followed
took no longer where the drawing before had."""
LOOKED = 2
"""Batches that are scored to measure how long all will take: the first has its memory to wait for, and by that alone a
minute of CIFAR-10 ended 2 s early."""
DRAWINGS = 2
"""How many are timed: one alone takes up to half as long again as the next."""


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        folder: the saved classifier, with the run's record and its results beside it.
        classifier: ready to predict.
        result: run, model, epochs, best_epoch, seconds, val, test (figures by name, or None),
            naive_test_accuracy (what a split that ignores copies would have claimed, where that differs), skipped.
        evaluation: on the test part, or on validation where there is no test part, or None where there is neither.
    """

    folder: Path
    classifier: Classifier
    result: dict[str, Any]
    evaluation: Evaluation | None


def train(
    data: str | Path | ImageIndex,
    recipe: Recipe | str | Path | None = None,
    *,
    run: Path | str | None = None,
    resume: bool = False,
    device: str = "auto",
    cache: Path | None = None,
    started: float | None = None,
    progress: Progress = QUIET,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    **settings: Any,
) -> Run:
    """Train a classifier on pictures, score it, draw its figures.

    Args:
        data: a folder, archive, table, named set, or an index that is already made.
        recipe: the name of a shipped recipe, a YAML file, or a Recipe. By default `transfer` where pretrained weights
            can be had, else `fast`; a resumed run goes on with its own.
        run: the folder to make; by default `runs/<data>-<n>`.
        resume: continue the run in that folder.
        started: when the recipe's minutes began, on `time.monotonic`; by default now.
        settings: fields of the recipe to replace, e.g. `minutes=10, seed=1`.

    Raises:
        UsageError, ShoeboxError: as `open_source` and `fit`.
    """
    started = time.monotonic() if started is None else started
    if resume and run is None:
        raise UsageError("which run is to go on? Name its folder with --run")
    index = data if isinstance(data, ImageIndex) else open_source(data, cache=cache, progress=progress)
    recipe = settled(recipe, settings, Path(run) if resume and run else None, device, progress)
    folder = Path(run) if run is not None else free_folder(Path("runs"), index.root.name or "run")
    for warning in index.warnings:
        progress.say(f"note: {warning}")
    drawn: list[Path] = []

    def reserve(pipeline: Pipeline, packed: Pack | Stream) -> float:
        drawn.extend(write_pictures(folder / "results", packed))
        return seconds_of_scoring(pipeline, packed) + seconds_of_results(folder / "results", packed)

    with open_trackers(recipe, folder, on_epoch) as trackers:
        classifier, packed = fit(
            index,
            recipe,
            folder,
            resume=resume,
            device=device,
            cache=cache,
            started=started,
            reserve=reserve,
            progress=progress,
            on_epoch=trackers.epoch,
        )
        if packed.skipped or index.skipped:
            progress.say(
                f"{len(packed.skipped) + len(index.skipped)} files were skipped; {folder / 'skipped.csv'} says why"
            )
        scored = score_parts(classifier, packed, folder, progress=progress)
        classifier.save(folder)
        evaluation = scored.get("test") or scored.get("val")
        claim = None
        if "test" in scored:
            honest = float(classifier.card["test"]["accuracy"])
            claim = naive_claim(classifier, index, packed, recipe, honest, progress=progress)
            if claim is not None:
                progress.say(f"note: {claim}")
        drawn = write_results(folder / "results", folder, evaluation, packed, before=drawn)
        result = {
            "run": str(folder),
            "model": classifier.model,
            "epochs": classifier.card["epochs"],
            "best_epoch": classifier.card["best_epoch"],
            "seconds": round(time.monotonic() - started, 2),
            "val": classifier.card.get("val") or None,
            "test": classifier.card.get("test"),
            "naive_test_accuracy": None if claim is None else claim.accuracy,
            "skipped": len(packed.skipped) + len(index.skipped),
        }
        with atomic_write(folder / "result.json", "w") as file:
            json.dump(result, file, indent=2)
        trackers.end(result, drawn)
        progress.say(f"{folder}: a classifier of {len(classifier.classes)} classes in {duration(result['seconds'])}")
    return Run(folder, classifier, result, evaluation)


def show_augment(
    data: str | Path | ImageIndex,
    recipe: Recipe | str | Path | None = None,
    *,
    run: Path | str | None = None,
    cache: Path | None = None,
    progress: Progress = QUIET,
    **settings: Any,
) -> Path:
    """Draw what a recipe's augmentations make of a few of the pictures, training nothing.

    Returns:
        the figure's file: `augmentation_grid.png` in `run`, or in the current folder.
    """
    index = data if isinstance(data, ImageIndex) else open_source(data, cache=cache, progress=progress)
    recipe = settled(recipe, settings, None, "auto", progress)
    index = split(index, validation=recipe.validation, test=recipe.test, seed=recipe.seed)
    made = plan(recipe, index)
    few = index.only("train")
    packed = pack(few.take(evenly(few.labels, 5)), made.preprocess, cache=cache, progress=progress)
    folder = Path(run or ".")
    folder.mkdir(parents=True, exist_ok=True)
    return write_figures(folder, {"augmentation_grid": augmentation_grid(made.recipe, packed)})[0]


def settled(
    recipe: Recipe | str | Path | None, settings: dict[str, Any], resumed: Path | None, device: str, progress: Progress
) -> Recipe:
    """The recipe with a person's settings in it; where none is named, the resumed run's own or the one that suits."""
    if isinstance(recipe, Recipe):
        return recipe.override(settings)
    if recipe is not None:
        return Recipe.load(recipe).override(settings)
    if resumed is not None and (resumed / "recipe.yaml").is_file():
        return recipe_of(resumed, settings)
    return choose_recipe(settings, device, progress)


def summary(result: dict[str, Any]) -> str:
    """A finished run in a few lines for a person."""
    lines = []
    for part, name in (("val", "validation"), ("test", "test")):
        figures = result[part]
        if figures:
            lines.append(
                f"{name}: accuracy {figures['accuracy']:.4f}, macro F1 {figures['macro_f1']:.4f}, "
                f"ROC-AUC {figures['roc_auc']:.4f}, log loss {figures['log_loss']:.4f}"
            )
    lines.append(f"classifier, figures and tables: {result['run']}")
    return "\n".join(lines)


def seconds_of_scoring(pipeline: Pipeline, packed: Pack | Stream) -> float:
    """Measure how long the scores after training will take, in seconds."""
    parts = packed.index.part
    pictures, validation_pictures = int(np.isin(parts, ("val", "test")).sum()), int((parts == "val").sum())
    size = min(pipeline.at_once(pipeline.preprocess.looks), len(packed))
    batch = torch.from_numpy(packed.gather(np.arange(size))).permute(0, 3, 1, 2).to(pipeline.scale.device)
    with torch.inference_mode():
        whole = copy.deepcopy(pipeline.network)
        whole.turn(1.0)  # of several networks some may not have trained yet; in the end all of them answer
        network = fold(whole, pipeline.inputs(batch[:4]))
        start = time.monotonic()
        for _ in range(LOOKED):
            pipeline.seen(pipeline.inputs(batch), network).sum().item()
        seconds = (time.monotonic() - start) / LOOKED
    # The last epoch's validation takes one look at each.
    scored = pictures + validation_pictures / pipeline.preprocess.looks
    return seconds / size * scored


def seconds_of_results(folder: Path, packed: Pack | Stream) -> float:
    """Measure how long everything else after training will take, by drawing a figure again: the first drawing has
    waited for libraries."""
    start = time.monotonic()
    for _ in range(DRAWINGS):
        write_figures(folder, {"class_distribution": class_distribution(packed.index.counts())})
    seconds = (time.monotonic() - start) / DRAWINGS
    seconds *= float(np.clip(seconds / USUAL, 1 / NEAR, NEAR)) ** -DOUBTED
    return seconds * (RESULTS + RESULTS_A_PICTURE * int(np.isin(packed.index.part, ("val", "test")).sum()))


def free_folder(parent: Path, name: str) -> Path:
    """The first of `name`, `name-2`, `name-3`, … that does not exist in `parent`."""
    number = 1
    while (folder := parent / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return folder
