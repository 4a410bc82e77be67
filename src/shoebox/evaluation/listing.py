"""The tables of a report: headline figures, classes, kinds of pictures, corruptions.

In: what was measured. Out: rows of plain values, their names such that they can be shown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.gallery import name_of
from shoebox.evaluation.intervals import Interval
from shoebox.evaluation.robustness import Robustness
from shoebox.evaluation.slices import Slice

KINDS = 6  # slices shown where none is significantly worse

# Corruptions as they are called on the page.
DISTURBED = {
    "noise": "Noise",
    "blur": "Blur",
    "brighter": "Too bright",
    "darker": "Too dark",
    "jpeg": "JPEG compression",
    "rotation": "Tilted",
    "crop": "Only a part seen",
}

# Headline figures by metric: the name on the page, what it is, and whether it is a share.
TILES = {
    "accuracy": ("Accuracy", "Share of the pictures that are classified rightly", True),
    "balanced_accuracy": ("Balanced accuracy", "Share found of each class, every class counting the same", True),
    "macro_f1": ("Macro F1", "Balance of precision and recall, every class counting the same", False),
    "roc_auc": ("ROC-AUC", "How well each class is ranked above the rest: 0.5 is chance, 1 perfect", False),
    "log_loss": ("Log loss", "Surprise at the true class in nats: lower is better", False),
    "ece": ("Calibration error", "How far confidence and accuracy lie apart, on average: lower is better", True),
}


def tiles(intervals: Mapping[str, Interval]) -> list[dict[str, str]]:
    """The headline figures with their ranges, as text."""
    made = []
    for metric, (name, about, is_share) in TILES.items():
        value, low, high = intervals[metric]
        decimals = 2 if 0 < value < 0.01 or 0.99 < value < 1 else 1
        write = f"{{:.{decimals}%}}".format if is_share else "{:.3f}".format
        both = np.isfinite(low) and np.isfinite(high)
        made.append(
            {
                "name": name,
                "about": about,
                "value": _spaced(write(value)) if np.isfinite(value) else "–",
                "range": _spaced(f"{write(low)} – {write(high)}") if both else "",
            }
        )
    return made


def _spaced(text: str) -> str:
    return text.replace("%", "\N{NO-BREAK SPACE}%")


def class_rows(evaluation: Evaluation, learnt_from: Sequence[int] = ()) -> list[dict[str, Any]]:
    """A row a class: its figures, and what it is most often taken for.

    Args:
        learnt_from: training pictures of each class, if known.
    """
    table = evaluation.report()
    counts = evaluation.confusion()
    np.fill_diagonal(counts, 0)
    rows = []
    for k, name in enumerate(evaluation.classes):
        taken = int(counts[k].argmax())
        rows.append(
            {
                "name": name_of(name),
                **{column: float(table[column].iloc[k]) for column in ("recall", "precision", "f1")},
                "support": int(table["support"].iloc[k]),
                "learnt_from": learnt_from[k] if learnt_from else 0,
                "taken_for": f"{name_of(evaluation.classes[taken])} ({counts[k, taken]:,})" if counts[k, taken] else "",
            }
        )
        if not rows[-1]["support"]:
            rows[-1]["recall"] = rows[-1]["f1"] = float("nan")
    return rows


def kinds(slices: Sequence[Slice]) -> list[dict[str, Any]]:
    """The slices that are significantly worse; where none is, the few that are lowest."""
    worse = [one for one in slices if one.worse]
    return [_kind(one) for one in worse or slices[:KINDS]]


def _kind(one: Slice) -> dict[str, Any]:
    low = "< 0.0001" if one.p < 0.0001 else f"{one.p:.4f}"
    return {
        **{name: getattr(one, name) for name in ("kind", "pictures", "accuracy", "low", "high", "rest")},
        "name": name_of(one.name),
        "p": low,
        "worse": one.worse,
    }


def corruptions(measured: Sequence[Robustness]) -> dict[str, Any] | None:
    """Accuracies as a table: a row a corruption, the most harmful first, a column a severity."""
    if not measured:
        return None
    severities = sorted({one.severity for one in measured if one.severity})
    by_name: dict[str, list[float]] = {}
    for one in measured[1:]:
        by_name.setdefault(one.corruption, []).append(one.accuracy)
    rows = sorted(by_name.items(), key=lambda row: sum(row[1]))
    plain = measured[0]
    return {
        "plain": plain.accuracy,
        "margin": (plain.high - plain.low) / 2,
        "severities": severities,
        "rows": [{"name": DISTURBED.get(name, name), "accuracies": accuracies} for name, accuracies in rows],
    }
