"""The results of a run, written where a person finds them: figures, tables and the report as text.

In: an Evaluation, the pictures it scored, the run's record. Out: a folder of PNG, CSV, JSON and Markdown files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from shoebox.base.files import atomic_write
from shoebox.base.recipe import Recipe
from shoebox.base.tables import plain, write_rows
from shoebox.data.augment import compose
from shoebox.data.draw import Draw
from shoebox.data.pack import Pack, Stream
from shoebox.evaluation import figures, grids
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.tables import epoch_csv, epoch_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def write_pictures(folder: Path, packed: Pack | Stream) -> list[Path]:
    """Write what can be shown before anything is trained: sample pictures, how many each class has.

    Args:
        folder: where to; made if missing.
        packed: the pictures, as stored.

    Returns:
        the figures' files.
    """
    rows = evenly(packed.index.labels, 16)
    drawn = {"sample_grid": grids.sample_grid(packed.gather(rows), named(packed, rows))}
    drawn["class_distribution"] = figures.class_distribution(packed.index.counts())
    return figures.write_figures(folder, drawn)


def write_results(
    folder: Path,
    run: Path | None,
    evaluation: Evaluation | None,
    packed: Pack | Stream,
    *,
    before: Sequence[Path] = (),
) -> list[Path]:
    """Write everything that can be shown of a run.

    Args:
        folder: where to; made if missing.
        run: the run's folder, if there is one: its `history.csv` and `recipe.yaml` are drawn too, where they are.
        evaluation: what was scored, of rows of `packed` with the same paths; None where nothing was.
        packed: the pictures, as stored.
        before: what `write_pictures` has drawn of them already.

    Returns:
        the figures' files, those too.
    """
    import pandas as pd

    before = before or write_pictures(folder, packed)
    drawn: dict[str, Figure] = {}
    if run and (run / "history.csv").is_file():
        history = pd.read_csv(run / "history.csv")
        drawn |= history_figures(history)
        with atomic_write(folder / "epochs.md", "w") as file:
            file.write(epoch_table(history))
        with atomic_write(folder / "epochs.csv", "w") as file:
            file.write(epoch_csv(history))
    if run and (run / "recipe.yaml").is_file():
        drawn["augmentation_grid"] = augmentation_grid(Recipe.load(run / "recipe.yaml"), packed)
    if evaluation is not None:
        drawn["confusion_matrix"] = figures.confusion_matrix(evaluation)
        drawn["wrong_grid"] = wrong_grid(evaluation, packed)
        write_tables(folder, evaluation)
    return [*before, *figures.write_figures(folder, drawn)]


def history_figures(history: pd.DataFrame) -> dict[str, Figure]:
    """The curves over epochs."""
    return {
        "curves": figures.curves(history),
        "six_metrics": figures.six_metrics(history),
        "learning_rate": figures.learning_rate(history),
    }


def write_tables(folder: Path, evaluation: Evaluation) -> None:
    """Write `metrics.json`, `report.csv`, `report.txt` and `predictions.csv`; what is not a number is null or empty."""
    with atomic_write(folder / "metrics.json", "w") as file:
        json.dump(plain(evaluation.metrics()), file, indent=2)
    report = evaluation.report()
    rows = [{"class": name, **row} for name, row in zip(report.index, report.to_dict("records"), strict=True)]
    write_rows(folder / "report.csv", rows, ["class", *report.columns])
    with atomic_write(folder / "report.txt", "w") as file:
        file.write(evaluation.report_text())
    predictions = evaluation.to_frame()
    write_rows(folder / "predictions.csv", predictions.to_dict("records"), list(predictions.columns))


def wrong_grid(evaluation: Evaluation, packed: Pack | Stream) -> Figure:
    """The sixteen most confident mistakes."""
    row_of = {path: row for row, path in enumerate(packed.index.paths)}
    rows = [row_of[evaluation.paths[i]] for i in evaluation.wrong()[:16]]
    return grids.wrong_grid(evaluation, packed.gather(np.array(rows, dtype=np.int64)))


def augmentation_grid(recipe: Recipe, packed: Pack | Stream, pictures: int = 5, versions: int = 7) -> Figure:
    """A few training pictures, each beside what the recipe's augmentations make of it in its first epochs."""
    train = np.flatnonzero(packed.index.part == "train")
    rows = train[evenly(packed.index.labels[train], pictures)]
    originals = packed.gather(rows)
    if not len(rows):
        return grids.augmentation_grid(originals, originals[:, None])
    batch = torch.from_numpy(originals).permute(0, 3, 1, 2)
    targets = F.one_hot(torch.from_numpy(packed.index.labels[rows]).clamp_min(0), len(packed.index.classes)).float()
    augment = compose(recipe.augment or ())
    augmented = []
    for epoch in range(versions):
        draw = Draw(torch.Generator().manual_seed(recipe.seed + epoch), epoch, torch.from_numpy(rows))
        augmented.append(augment(batch, targets, draw)[0].permute(0, 2, 3, 1).numpy())
    return grids.augmentation_grid(originals, np.stack(augmented, axis=1))


def evenly(labels: np.ndarray, count: int) -> np.ndarray:
    """Up to `count` rows that show the classes in turn, the same on every call."""
    order = np.random.default_rng(0).permutation(len(labels))
    seen: dict[int, int] = {}
    turns = []
    for row in order:
        label = int(labels[row])
        turns.append((seen.get(label, 0), label, int(row)))
        seen[label] = seen.get(label, 0) + 1
    return np.array([row for _, _, row in sorted(turns)[:count]], dtype=np.int64)


def named(packed: Pack | Stream, rows: np.ndarray) -> list[str]:
    """The class names of some rows; "" where there is no label."""
    return [packed.index.classes[label] if label >= 0 else "" for label in packed.index.labels[rows].tolist()]
