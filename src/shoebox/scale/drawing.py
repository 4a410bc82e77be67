"""The figures of a sweep: which settings matter, and how settings and results go together.

In: a study and its spans. Out: PNG files in the sweep's folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shoebox.evaluation import style
from shoebox.evaluation.figures import write_figures
from shoebox.scale.space import Span

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure

LEAST = 8
"""Completed trials below which nothing can be said of which setting matters."""


def sweep_figures(folder: Path, study: optuna.Study, spans: Sequence[Span], monitor: str) -> list[Path]:
    """Draw what there is to draw; nothing before a trial is completed."""
    done = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    if not done:
        return []
    values = np.array([trial.value for trial in done], dtype=np.float64)
    columns = {span.field: [trial.params[span.field] for trial in done] for span in spans}
    kinds = {span.field: span.kind for span in spans}
    best = int(values.argmax() if study.direction.name == "MAXIMIZE" else values.argmin())
    return write_figures(
        folder,
        {
            "importance": importance(shares(study, len(done), values), monitor),
            "parallel_coordinates": parallel_coordinates(columns, values, monitor, best, kinds),
        },
    )


def shares(study: optuna.Study, done: int, values: NDArray[np.float64]) -> dict[str, float]:
    """How much of the spread of the results each setting explains, 0…1 (fANOVA on a random forest, Hutter et al.
    2014, proceedings.mlr.press/v32/hutter14.html); empty where there is too little to tell."""
    import optuna

    if done < LEAST or np.ptp(values) == 0:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


@style.figure
def importance(found: dict[str, float], monitor: str) -> Figure:
    """A bar a setting: how much of the spread of the results it explains."""
    title = f"What {_said(monitor)} depends on"
    if not found:
        return style.notice(title, f"too few trials to tell: it takes {LEAST} that differ")
    names = sorted(found, key=found.__getitem__)
    made = style.new_figure(6.4, 1.4 + 0.42 * len(names), title)
    axes = made.add_subplot()
    axes.barh(range(len(names)), [found[name] for name in names], height=0.66, color=style.TRAIN)
    for place, name in enumerate(names):
        note: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 9}
        axes.annotate(f"{found[name]:.0%}", (found[name], place), color=style.MUTED, **note)
    axes.set_yticks(range(len(names)), map(_said, names), color=style.INK)
    axes.set(xlim=(0, 1.12 * max(found.values())), xlabel="share of the spread of the results")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    return made


@style.figure
def parallel_coordinates(
    columns: dict[str, list[Any]], values: NDArray[np.float64], monitor: str, best: int, kinds: dict[str, str]
) -> Figure:
    """A line a completed trial, from setting to setting to its result; the best one drawn strongest.

    Args:
        columns: by setting, the value of each trial.
        values: (n,) the result of each.
        best: which of them is the best.
        kinds: by setting, how it was varied: a "log" axis is one of orders of magnitude, a "choice" has a place each.
    """
    from matplotlib.colors import LinearSegmentedColormap

    axes_of = [*columns, monitor]
    scaled = [_scaled(column, kinds[name]) for name, column in columns.items()]
    scaled.append(_scaled(values.tolist(), "uniform"))
    made = style.new_figure(max(6.0, 1.9 * len(axes_of)), 4.6, "Settings and results")
    axes = made.add_subplot()
    shade = LinearSegmentedColormap.from_list("results", style.SHADES[1:])
    order = [*(i for i in np.argsort(values) if i != best), best]
    for i in order:
        line = [places[i] for places, _ in scaled]
        strong = i == best
        colour = style.VAL if strong else shade(scaled[-1][0][i])
        axes.plot(range(len(axes_of)), line, color=colour, linewidth=3 if strong else 1.2, alpha=1 if strong else 0.8)
    for place, (_, ticks) in enumerate(scaled):
        axes.axvline(place, color=style.MUTED, linewidth=1, zorder=0)
        for height, text in ticks:
            note: dict[str, Any] = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
            note["bbox"] = {"boxstyle": "round,pad=0.1", "facecolor": style.PAPER, "edgecolor": "none", "alpha": 0.8}
            axes.annotate(text, (place, height), color=style.INK, **note)
    axes.set_xticks(range(len(axes_of)), list(map(_said, axes_of)), color=style.INK)
    axes.set(yticks=[], xlim=(-0.1, len(axes_of) - 0.45), ylim=(-0.06, 1.06))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="x", length=0)
    return made


def _scaled(column: list[Any], kind: str) -> tuple[NDArray[np.float64], list[tuple[float, str]]]:
    """Places in 0…1, and the ticks (place, text) of an axis."""
    if kind == "choice":
        numeric = all(isinstance(value, (int, float)) for value in column)
        choices = sorted(set(column), key=None if numeric else str)
        step = 1 / max(len(choices) - 1, 1)
        places = np.array([choices.index(value) * step for value in column])
        return places, [(i * step, style.label(str(choice), 16)) for i, choice in enumerate(choices)]
    numbers = np.array(column, dtype=np.float64)
    moved = np.log(numbers) if kind == "log" else numbers
    low, high = float(moved.min()), float(moved.max())
    if low == high:
        return np.full(len(numbers), 0.5), [(0.5, f"{numbers[0]:.4g}")]
    heights = np.linspace(0, 1, 5)
    marks = low + heights * (high - low)
    shown = np.exp(marks) if kind == "log" else marks
    return (moved - low) / (high - low), [(float(h), f"{mark:.3g}") for h, mark in zip(heights, shown, strict=True)]


def _said(name: str) -> str:
    """A field or metric in words."""
    return name.replace("_f1", " F1").replace("_", " ")
