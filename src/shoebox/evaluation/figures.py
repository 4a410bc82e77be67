"""The figures of a run and of an evaluation: each a function from arrays or a table to a matplotlib `Figure`.

In: a history (a DataFrame, a row an epoch: epoch, train_loss, val_loss, train_accuracy, …, lr), counts (classes ×
parts), an `Evaluation`, or uint8 pictures. Out: a `Figure` that no window or global state knows of; `write_figures`
saves them as PNG. The confusion matrix of `shoebox.evaluation.matrix` and the grids of pictures of
`shoebox.evaluation.grids` are in the registry too.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shoebox.base.files import atomic_write
from shoebox.base.registry import Registry
from shoebox.evaluation import style
from shoebox.evaluation.grids import augmentation_grid, sample_grid, wrong_grid
from shoebox.evaluation.matrix import confusion_matrix
from shoebox.evaluation.metrics import SIX

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "FIGURES",
    "augmentation_grid",
    "class_distribution",
    "confusion_matrix",
    "curves",
    "learning_rate",
    "sample_grid",
    "six_metrics",
    "write_figures",
    "wrong_grid",
]

FIGURES: Registry[Callable[..., "Figure"]] = Registry("figure")
for _drawing in (confusion_matrix, sample_grid, augmentation_grid, wrong_grid):
    FIGURES.register(_drawing)

_TITLES = {"roc_auc": "ROC-AUC", "macro_f1": "macro F1"}


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
def curves(history: "pd.DataFrame", *, best: int | None = None) -> "Figure":
    """Loss and accuracy over the epochs, train against validation, the best epoch marked.

    Args:
        history: columns epoch, train_loss, val_loss, train_accuracy, val_accuracy; those of validation may be missing.
        best: the epoch to mark; by default the one of highest val_macro_f1, and none without validation.
    """
    made = style.new_figure(10, 4.2)
    for axes, metric in zip(made.subplots(1, 2), ("loss", "accuracy"), strict=True):
        _over_epochs(axes, history, metric, _best_epoch(history, best))
    _legend(made)
    return made


@FIGURES.register
@style.figure
def six_metrics(history: "pd.DataFrame", *, best: int | None = None) -> "Figure":
    """The six metrics of every epoch in six panels, train against validation; arguments as `curves`."""
    made = style.new_figure(11, 6.4)
    for axes, metric in zip(made.subplots(2, 3).flat, SIX, strict=True):
        _over_epochs(axes, history, metric, _best_epoch(history, best))
    _legend(made)
    return made


@FIGURES.register
@style.figure
def learning_rate(history: "pd.DataFrame") -> "Figure":
    """The learning rate over the epochs (column lr)."""
    made = style.new_figure(6.4, 3.6)
    axes = made.add_subplot()
    _line(axes, history, "lr", style.TRAIN, "learning rate")
    _dress(axes, "learning rate")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
    return made


def _over_epochs(axes: "Axes", history: "pd.DataFrame", metric: str, best: int | None) -> None:
    """One panel: `metric` of train and validation over the epochs."""
    _line(axes, history, f"train_{metric}", style.TRAIN, "train")
    _line(axes, history, f"val_{metric}", style.VAL, "validation")
    if best is not None and axes.lines:
        at_best = _column(history, f"val_{metric}")[_column(history, "epoch") == best]
        axes.plot([best] * len(at_best), at_best, "o", markersize=9, markerfacecolor="none", color=style.VAL)
        dashes: dict[str, Any] = {"color": style.MUTED, "linewidth": 1, "linestyle": (0, (4, 3)), "zorder": 1}
        axes.axvline(best, label=f"best epoch ({best})", **dashes)
    _dress(axes, _TITLES.get(metric, metric.replace("_", " ")))


def _line(axes: "Axes", history: "pd.DataFrame", column: str, colour: str, label: str) -> None:
    """Draw one column; what is not finite leaves a gap, and a column without any finite value is not drawn."""
    values = _column(history, column)
    if np.isfinite(values).any():
        size = 4.5 if len(values) <= 30 else 1.8  # points between two gaps have no line: the marker shows them
        axes.plot(_column(history, "epoch"), values, color=colour, label=label, marker="o", markersize=size)


def _dress(axes: "Axes", title: str) -> None:
    """Title, axis labels and ranges of a panel over epochs."""
    from matplotlib.ticker import MaxNLocator

    drawn = [np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.lines if line.get_marker() == "o"]
    values = np.concatenate([np.empty(0), *drawn])
    values = values[np.isfinite(values)]
    axes.set_title(title)
    axes.set_xlabel("epoch")
    if not len(values):
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", va="center", color=style.MUTED)
        axes.set(xticks=[], yticks=[])
        return
    axes.margins(y=0.1)
    epochs = np.concatenate([np.asarray(line.get_xdata(), dtype=np.float64) for line in axes.lines])
    axes.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    low, high = values.min(), values.max()
    if "loss" in title and low > 0 and high > 100 * low:
        axes.set_yscale("log")  # one exploded epoch would flatten all others
        axes.set_ylabel("log scale")
    elif high - low < 0.1 * abs(high):  # a difference in the fourth digit is not to look like a leap
        axes.set_ylim(low - 0.1 * abs(high), high + 0.1 * abs(high))


def _column(history: "pd.DataFrame", column: str) -> NDArray[np.float64]:
    """A column as floats, nan for what is missing, not finite or not a number."""
    import pandas as pd

    if column not in history:
        return np.full(len(history), np.nan)
    values = pd.to_numeric(history[column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def _best_epoch(history: "pd.DataFrame", chosen: int | None) -> int | None:
    scores = _column(history, "val_macro_f1")
    if chosen is not None or not np.isfinite(scores).any():
        return chosen
    return int(_column(history, "epoch")[np.nanargmax(scores)])


def _legend(made: "Figure") -> None:
    """One legend below all panels."""
    entries = {label: line for axes in made.axes for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if entries:
        made.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=len(entries))


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
