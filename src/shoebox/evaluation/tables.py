"""Tables of a run and of an evaluation as text: the epochs as Markdown and CSV, the per-class report for a terminal.

In: a history (a DataFrame, a row an epoch) or a report (`Evaluation.report`). Out: strings; nothing is written here.
"""

import math
from typing import TYPE_CHECKING

from shoebox.evaluation.text import pad, visible, width

if TYPE_CHECKING:
    import pandas as pd


def duration(seconds: float) -> str:
    """Seconds as `XmYs`, whole seconds, minutes without end: 65 → "1m05s", 7512.4 → "125m12s"; "" for nan."""
    if not math.isfinite(seconds):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s"


def epoch_table(history: "pd.DataFrame") -> str:
    """The epochs as a Markdown table, times as `XmYs`.

    Args:
        history: a row an epoch; any columns. "epoch" is shown as a whole number, "seconds" as "time",
            "pictures_per_second" without decimals, "lr" to three digits and anything else to four decimals; a column
            that is empty throughout (validation where there is none) is left out.

    Returns:
        Lines ending in a line end; one for the header, one for the rule, one an epoch.
    """
    columns = [c for c in history.columns if c == "epoch" or history[c].notna().any()]
    heads = ["time" if c == "seconds" else _escaped(c).replace("_", " ") for c in columns]
    lines = [heads, ["---:"] * len(columns)]
    for row in history[columns].itertuples(index=False, name=None):
        lines.append([_cell(str(column), value) for column, value in zip(columns, row, strict=True)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(column: str, value: object) -> str:
    if not isinstance(value, (int, float)):
        return "" if value is None else _escaped(value)
    if not math.isfinite(value):
        return "" if math.isnan(value) else str(value)
    if column == "seconds":
        return duration(value)
    if column in ("epoch", "pictures_per_second"):
        return f"{value:.0f}"
    return f"{value:.3g}" if column == "lr" else f"{value:.4f}"


def _escaped(value: object) -> str:
    return visible(str(value)).replace("|", r"\|")


def epoch_csv(history: "pd.DataFrame") -> str:
    """The epochs as CSV at full precision, the column "seconds" given as "time" in `XmYs`; lines end in \\n."""
    timed = history
    if "seconds" in history:
        timed = history.assign(seconds=history["seconds"].map(duration)).rename(columns={"seconds": "time"})
    return str(timed.to_csv(index=False, lineterminator="\n"))


def report_text(report: "pd.DataFrame") -> str:
    """A per-class report laid out like scikit-learn's, with two decimals, names aligned whatever their script.

    Args:
        report: as from `Evaluation.report`: the classes, then three rows of averages.
    """
    names = [visible(str(name)) for name in report.index]
    column = max(map(width, names))
    lines = [pad("", column) + "".join(f"{head:>10}" for head in report.columns), ""]
    rows = report.itertuples(index=False, name=None)
    for place, (name, (*scores, support)) in enumerate(zip(names, rows, strict=True)):
        if place == len(names) - 3:
            lines.append("")
        figures = ["" if math.isnan(score) else f"{score:.2f}" for score in scores]
        lines.append(pad(name, column) + "".join(f"{figure:>10}" for figure in figures) + f"{support:>10}")
    return "\n".join(lines) + "\n"
