"""The figures of a run and of an evaluation: each a function from arrays or a table to a matplotlib `Figure`.

In: a history (a DataFrame, a row an epoch: epoch, train_loss, val_loss, train_accuracy, …, lr), counts (classes ×
parts), an `Evaluation`, or uint8 pictures. Out: a `Figure` that no window or global state knows of; `write_figures`
saves them as PNG. They live in modules by what they show: over epochs in `shoebox.evaluation.epochs`, the confusion
matrix in `matrix`, curves of every class in `ranking`, what confidence is worth in `confidence`, what is none of
the classes in `strangers`, the map of the
features in `plane`, the network in `layers`, pictures in `grids`.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shoebox.base.files import atomic_write
from shoebox.base.registry import Registry
from shoebox.evaluation import style
from shoebox.evaluation.confidence import coverage_risk, reliability_diagram
from shoebox.evaluation.epochs import curves, ladder, learning_rate, six_metrics
from shoebox.evaluation.grids import augmentation_grid, heat_grid, pairs_grid, sample_grid, unsure_grid, wrong_grid
from shoebox.evaluation.layers import network_table
from shoebox.evaluation.matrix import confusion_matrix
from shoebox.evaluation.plane import embedding_map
from shoebox.evaluation.ranking import precision_recall, roc_curves
from shoebox.evaluation.strangers import strangeness

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = [
    "FIGURES",
    "augmentation_grid",
    "class_distribution",
    "confusion_matrix",
    "coverage_risk",
    "curves",
    "embedding_map",
    "heat_grid",
    "ladder",
    "learning_rate",
    "network_table",
    "pairs_grid",
    "precision_recall",
    "reliability_diagram",
    "roc_curves",
    "sample_grid",
    "six_metrics",
    "strangeness",
    "unsure_grid",
    "write_figures",
    "wrong_grid",
]

FIGURES: Registry[Callable[..., "Figure"]] = Registry("figure")
for _drawing in (
    *(curves, six_metrics, learning_rate, ladder),
    *(
        confusion_matrix,
        roc_curves,
        precision_recall,
        reliability_diagram,
        coverage_risk,
        embedding_map,
        network_table,
        strangeness,
    ),
    *(sample_grid, augmentation_grid, wrong_grid, unsure_grid, pairs_grid, heat_grid),
):
    FIGURES.register(_drawing)


def write_figures(folder: Path, figures: "Mapping[str, Figure]") -> list[Path]:
    """Save each figure as `folder/<name>.png` (150 dpi), atomically; the folder is made if missing.

    Raises:
        ValueError: a name is not a plain file name.
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, made in figures.items():
        path = folder / f"{name}.png"
        if path.parent != folder or path.stem != name:
            raise ValueError(f"{name!r} cannot name a figure's file")
        with atomic_write(path) as file:
            # Level 3 takes a third of the default's time for a tenth more bytes (measured on grids of pictures).
            made.savefig(file, format="png", dpi=style.DPI, pil_kwargs={"compress_level": 3})
        written.append(path)
    return written


@FIGURES.register
@style.figure
def class_distribution(counts: "pd.DataFrame") -> "Figure":
    """How many pictures each class has, stacked by part.

    Args:
        counts: classes × parts, whole numbers, as from `ImageIndex.counts`. Above 100 classes the sizes are sorted and
            without names.
    """
    table = counts.loc[:, [c for c in counts.columns if counts[c].sum() > 0]]
    if table.empty:
        return style.notice("Pictures a class", "there are no pictures")
    totals = table.sum(axis=1).to_numpy(dtype=np.int64)
    classes = len(table)
    title = f"Pictures a class · {totals.sum():,} in {classes:,} classes"
    if classes > style.NAMED:
        return _sizes(title, table.iloc[np.argsort(-totals, kind="stable")])
    letters = 9.0 if classes <= 40 else 7.0
    names = style.class_labels([str(name) for name in table.index])
    made = style.new_figure(8, float(np.clip(0.34 * classes, 1.2, 0.17 * classes + 4)) + 1.6, title)
    axes = made.add_subplot()
    left = np.zeros(classes)
    for part, colour, label in _parts(table):
        axes.barh(range(classes), table[part], left=left, height=0.74, color=colour, label=label)
        left += table[part].to_numpy(dtype=np.float64)
    for place, total in enumerate(totals):
        anchor: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(f"{total:,}", (total, place), color=style.MUTED, fontsize=letters - 0.5, **anchor)
    axes.set_yticks(range(classes), names, fontsize=letters, color=style.INK)
    axes.set(xlabel="pictures", ylim=(classes - 0.4, -0.6), xlim=(0, 1.12 * totals.max()))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    made.legend(loc="outside lower center", ncols=len(table.columns))
    return made


def _sizes(title: str, table: "pd.DataFrame") -> "Figure":
    """The sizes of classes too many to name, stacked by part, in the order of the rows."""
    made = style.new_figure(9, 5, title)
    axes = made.add_subplot()
    below = np.zeros(len(table))
    for part, colour, label in _parts(table):
        above = below + table[part].to_numpy(dtype=np.float64)
        axes.stairs(above, baseline=below, fill=True, color=colour, label=label)
        below = above
    axes.set(xlabel="classes, the largest first", ylabel="pictures", ylim=(0, None), xlim=(0, len(table)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    made.legend(loc="outside lower center", ncols=len(table.columns))
    return made


def _parts(table: "pd.DataFrame") -> Iterator[tuple[str, str, str]]:
    """Each part's column, colour and name."""
    for number, part in enumerate(table.columns):
        yield part, style.PARTS.get(part, style.SHADES[1 + number % 4]), style.PART_NAMES.get(part, str(part))
