"""The report as one page of HTML that works offline.

In: a `Report`: an Evaluation and what was gathered around it. Out: text. Nothing here opens a picture or a network.

Every name on the page is escaped; the page may run its own script alone (a Content-Security-Policy with the script's
hash) and request nothing.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from shoebox.evaluation import figures
from shoebox.evaluation.confusions import confusions, order_by_confusion
from shoebox.evaluation.drawing import inline_svg
from shoebox.evaluation.embedding import Map
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.exhibits import Captioned, network_figures, ranking_figures, training_figures, trust_figures
from shoebox.evaluation.gallery import Gallery, name_of, page_data
from shoebox.evaluation.intervals import Interval
from shoebox.evaluation.plane import NAMES
from shoebox.evaluation.slices import Slice
from shoebox.evaluation.verdict import PART_NAMES, Verdict, shown
from shoebox.models.summary import Summary

if TYPE_CHECKING:
    import pandas as pd

MATRIX = 25  # classes up to which the confusion matrix is a table whose cells can be chosen
PAIRS = 6
STRIP = 5  # pictures shown of each pair
KINDS = 6  # slices shown where none is significantly worse

# Headline figures by metric: the name on the page, what it is, and whether it is a share.
TILES = {
    "accuracy": ("Accuracy", "Share of the pictures that are classified rightly", True),
    "balanced_accuracy": ("Balanced accuracy", "Share found of each class, every class counting the same", True),
    "macro_f1": ("Macro F1", "Balance of precision and recall, every class counting the same", False),
    "roc_auc": ("ROC-AUC", "How well each class is ranked above the rest: 0.5 is chance, 1 perfect", False),
    "log_loss": ("Log loss", "Surprise at the true class in nats: lower is better", False),
    "ece": ("Calibration error", "How far confidence and accuracy lie apart, on average: lower is better", True),
}


@dataclass(frozen=True, eq=False)
class Report:
    """All that a report tells.

    Attributes:
        title, subtitle: what it is about.
        evaluation: of one part.
        intervals: of the metrics in `TILES`.
        verdict: the words.
        gallery: the pictures to look at.
        map: of the gallery's rows, if features were kept.
        history: of the training, if it is known.
        learnt_from: training pictures of each class, empty if not known.
        slices: kinds of pictures, the most significantly worse first.
        network: its layers.
        facts: names and values for the end of the page.
        recipe: as YAML.
        notes: what the reader must know about how this was measured.
        made, version: when, and by which Shoebox.
    """

    title: str
    subtitle: str
    evaluation: Evaluation
    intervals: dict[str, Interval]
    verdict: Verdict
    gallery: Gallery
    map: Map | None
    history: "pd.DataFrame | None"
    learnt_from: tuple[int, ...]
    slices: tuple[Slice, ...]
    network: Summary
    facts: tuple[tuple[str, str], ...]
    recipe: str
    notes: tuple[str, ...]
    made: str
    version: str


def page(report: Report) -> str:
    """The report as one HTML file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    templates = Environment(
        loader=PackageLoader("shoebox.evaluation", "templates"),
        autoescape=lambda name: name == "page.html",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = resources.files("shoebox.evaluation").joinpath("templates/page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    data = json.dumps(page_data(report.evaluation, report.gallery, report.map), ensure_ascii=False)
    values = _values(report)
    sections = [("short", "In short"), ("figures", "Figures"), ("classes", "Classes")]
    optional = (
        ("mistakes", "Mistakes", values["matrix"] or values["matrix_figure"] or values["pairs"]),
        ("kinds", "Kinds", values["slices"]),
        ("map", "Map", values["has_map"]),
        ("trust", "Confidence", values["trust"]),
        ("training", "Training", values["training"]),
        ("pictures", "Pictures", values["shown_count"]),
        ("details", "Details", True),
    )
    return templates.get_template("page.html").render(
        values,
        css=Markup(templates.get_template("page.css").render()),
        script=Markup(script),
        script_hash=Markup(f"'sha256-{digest}'"),
        # "<" would end the element, whatever the JSON around it says.
        data=Markup(data.replace("<", "\\u003c")),
        sections=[*sections, *((place, name) for place, name, there in optional if there)],
    )


def _values(report: Report) -> dict[str, Any]:
    """What the template fills in."""
    evaluation = report.evaluation
    accuracy = report.intervals["accuracy"]
    worse = [one for one in report.slices if one.worse]
    part = PART_NAMES.get(evaluation.part, "")
    return {
        "title": report.title,
        "subtitle": report.subtitle,
        "names": [name_of(name) for name in evaluation.classes],
        "part_name": f"{part} " if part else "",
        "accuracy": accuracy if np.isfinite(accuracy.value) else None,
        "verdict": report.verdict,
        "notes": report.notes,
        "tiles": tiles(report.intervals),
        "rows": class_rows(report),
        "learnt_from": report.learnt_from,
        "matrix": _matrix(evaluation),
        "matrix_figure": _matrix_figure(evaluation),
        "pairs": _pairs(report),
        "slices": [{**_kind(one), "worse": one.worse} for one in worse or report.slices[:KINDS]],
        "worse": bool(worse),
        "has_map": report.map is not None and len(report.map.rows) > 1,
        "method": NAMES[report.map.method] if report.map else "",
        "shown": f"{len(report.gallery.rows):,}",
        "shown_count": len(report.gallery.rows),
        "selection": selection(report),
        "has_wrong": bool(np.isin(report.gallery.rows, evaluation.wrong()).any()),
        "trust": _drawn(trust_figures(report.evaluation)),
        "training": _drawn(training_figures(report.history)),
        "ranking": _drawn(ranking_figures(report.evaluation)),
        "network": _drawn(network_figures(report.network))[0],
        "facts": report.facts,
        "recipe": report.recipe,
        "made": report.made,
        "version": report.version,
    }


def tiles(intervals: dict[str, Interval]) -> list[dict[str, str]]:
    """The headline figures with their ranges, as text."""
    made = []
    for metric, (name, about, is_share) in TILES.items():
        value, low, high = intervals[metric]
        write = shown if is_share else "{:.3f}".format
        both = np.isfinite(low) and np.isfinite(high)
        made.append(
            {
                "name": name,
                "about": about,
                "value": write(value) if np.isfinite(value) else "–",
                "range": f"{write(low)} – {write(high)}" if both else "",
            }
        )
    return made


def class_rows(report: Report) -> list[dict[str, Any]]:
    """A row a class: its figures, and what it is most often taken for."""
    evaluation, table = report.evaluation, report.evaluation.report()
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
                "learnt_from": report.learnt_from[k] if report.learnt_from else 0,
                "taken_for": f"{name_of(evaluation.classes[taken])} ({counts[k, taken]:,})" if counts[k, taken] else "",
            }
        )
        if not rows[-1]["support"]:
            rows[-1]["recall"] = rows[-1]["f1"] = float("nan")
    return rows


def selection(report: Report) -> str:
    """Which pictures the page shows, in words."""
    total, there = len(report.evaluation), len(report.gallery.rows)
    if there == total:
        return f"All {total:,} pictures. Choose one to see why it was answered so."
    wrong = report.evaluation.wrong()
    kept = int(np.isin(report.gallery.rows, wrong).sum())
    mistakes = f"all {kept:,} mistakes" if kept == len(wrong) else f"{kept:,} of the {len(wrong):,} mistakes"
    return (
        f"{there:,} of the {total:,} pictures, so that the page stays small: {mistakes}, and of the others a sample in "
        "which every class has its share. Choose one to see why it was answered so."
    )


def _matrix(evaluation: Evaluation) -> dict[str, Any] | None:
    if len(evaluation.classes) > MATRIX or not evaluation.labelled.any():
        return None
    counts = evaluation.confusion()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return {"order": order_by_confusion(evaluation).tolist(), "counts": counts.tolist(), "shares": shares.tolist()}


def _matrix_figure(evaluation: Evaluation) -> Any:
    from markupsafe import Markup

    if len(evaluation.classes) <= MATRIX or not evaluation.labelled.any():
        return None
    made = figures.confusion_matrix(evaluation, order="confusion")
    return Markup(inline_svg(made, "matrix", "Confusion matrix: true classes by predicted classes"))


def _pairs(report: Report) -> list[dict[str, Any]]:
    place_of = {row: place for place, row in enumerate(report.gallery.rows.tolist())}
    return [
        {
            "true": pair.true,
            "predicted": pair.predicted,
            "count": len(pair.rows),
            "share": pair.share,
            "places": [place_of[row] for row in pair.rows.tolist() if row in place_of][:STRIP],
        }
        for pair in confusions(report.evaluation, PAIRS)
    ]


def _kind(one: Slice) -> dict[str, Any]:
    low = "< 0.0001" if one.p < 0.0001 else f"{one.p:.4f}"
    return {
        **{name: getattr(one, name) for name in ("kind", "pictures", "accuracy", "low", "high", "rest")},
        "name": name_of(one.name),
        "p": low,
    }


def _drawn(made: Captioned) -> list[dict[str, Any]]:
    from markupsafe import Markup

    return [
        {"svg": Markup(inline_svg(figure, name, caption)), "caption": caption}
        for name, (figure, caption) in made.items()
    ]
