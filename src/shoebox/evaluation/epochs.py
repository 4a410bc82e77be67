"""Figures over epochs: loss and metrics, the learning rate, and the steps of a ladder side by side.

In: a history (a DataFrame, a row an epoch: epoch, train_loss, val_loss, train_accuracy, …, lr), or one a step. Out: a
matplotlib `Figure`. They join `FIGURES` in `shoebox.evaluation.figures`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shoebox.evaluation import style
from shoebox.evaluation.metrics import SIX

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLES = {"roc_auc": "ROC-AUC", "macro_f1": "macro F1"}


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


@style.figure
def six_metrics(history: "pd.DataFrame", *, best: int | None = None) -> "Figure":
    """The six metrics of every epoch in six panels, train against validation; arguments as `curves`."""
    made = style.new_figure(11, 6.4)
    for axes, metric in zip(made.subplots(2, 3).flat, SIX, strict=True):
        _over_epochs(axes, history, metric, _best_epoch(history, best))
    _legend(made)
    return made


@style.figure
def learning_rate(history: "pd.DataFrame") -> "Figure":
    """The learning rate over the epochs (column lr)."""
    made = style.new_figure(6.4, 3.6)
    axes = made.add_subplot()
    _line(axes, history, "lr", style.TRAIN, "learning rate")
    _dress(axes, "learning rate")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
    return made


@style.figure
def ladder(histories: "Mapping[str, pd.DataFrame]", table: "pd.DataFrame") -> "Figure":
    """The steps of a ladder: accuracy over the epochs of each, and beside it the accuracy that each ended with.

    Args:
        histories: by the name of the step; columns epoch and val_accuracy, or train_accuracy (drawn dashed) where a
            step had no validation.
        table: a row a step, in order: step (the name), part ("test" or "val") and accuracy.
    """
    from matplotlib.colors import LinearSegmentedColormap

    if table.empty:
        return style.notice("Step by step", "no step has been trained")
    shades = LinearSegmentedColormap.from_list("steps", style.STEPS)(np.linspace(0, 1, len(table)))
    names = style.class_labels([str(name) for name in table["step"]])
    made = style.new_figure(11, max(3.8, 0.42 * len(table) + 1.6))
    over, final = made.subplots(1, 2, width_ratios=(1.15, 1))
    parts = set()
    for step, shade in zip(table["step"], shades, strict=True):
        history = histories[step]
        part = "val" if np.isfinite(_column(history, "val_accuracy")).any() else "train"
        drawn = len(over.lines)
        _line(over, history, f"{part}_accuracy", shade, "")
        for line in over.lines[drawn:]:
            line.set_linestyle("-" if part == "val" else (0, (4, 2)))
            parts.add(part)
    mixed = "validation accuracy (dashed: training, where there is no validation)"
    _dress(over, mixed if len(parts) == 2 else "training accuracy" if parts == {"train"} else "validation accuracy")

    accuracies = _column(table, "accuracy")
    places = np.arange(len(table))
    final.barh(places, np.nan_to_num(accuracies), color=shades, height=0.66)
    for place, accuracy in zip(places, accuracies, strict=True):
        anchor: dict[str, Any] = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "fontsize": 9}
        shown = f"{accuracy:.2%}" if np.isfinite(accuracy) else "none"
        final.annotate(shown, (np.nan_to_num(accuracy), place), color=style.INK, **anchor)
    ended = {"test": "test accuracy", "val": "validation accuracy"}
    final.set_title(" and ".join(ended.get(part, str(part)) for part in dict.fromkeys(table["part"])) + " at the end")
    final.set_yticks(places, names, color=style.INK, fontsize=9)
    final.set(xlim=(0, 1.18), ylim=(len(table) - 0.4, -0.6), xticks=np.linspace(0, 1, 6))
    final.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    final.tick_params(axis="y", length=0)
    final.grid(visible=False, axis="y")
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
    """Draw one column; the line goes past what is not finite or was not measured, the markers show what was."""
    values = _column(history, column)
    known = np.isfinite(values)
    if known.any():
        size = 4.5 if known.sum() <= 30 else 1.8
        epochs = _column(history, "epoch")[known]
        axes.plot(epochs, values[known], color=colour, label=label, marker="o", markersize=size)


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
