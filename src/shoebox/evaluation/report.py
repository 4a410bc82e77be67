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
from shoebox.evaluation.exhibits import (
    Captioned,
    network_figures,
    ranking_figures,
    strangers_figures,
    training_figures,
    trust_figures,
)
from shoebox.evaluation.gallery import Gallery, name_of, page_data
from shoebox.evaluation.intervals import Interval
from shoebox.evaluation.listing import class_rows, corruptions, kinds, tiles
from shoebox.evaluation.novelty import Apart
from shoebox.evaluation.plane import NAMES
from shoebox.evaluation.robustness import Robustness
from shoebox.evaluation.slices import Slice
from shoebox.evaluation.trust import Trust
from shoebox.evaluation.verdict import PART_NAMES, Verdict, plainly, shown
from shoebox.models.summary import Summary

if TYPE_CHECKING:
    import pandas as pd

MATRIX = 25  # classes up to which the confusion matrix is a table whose cells can be chosen
PAIRS = 6
STRIP = 5  # pictures shown of each pair


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
        trust: what can be relied on; None without labels.
        robustness: accuracy under corruptions, "none" first; empty where it was not measured.
        strangers: how well pictures of none of the classes are told from these, if some were given.
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
    trust: Trust | None
    robustness: tuple[Robustness, ...]
    strangers: Apart | None
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
        ("robustness", "Robustness", values["corruptions"]),
        ("training", "Training", values["training"]),
        ("pictures", "Pictures", values["shown_count"]),
        ("details", "Details", True),
    )
    templates.filters.update(percent=shown, chosen=plainly)
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
        "rows": class_rows(evaluation, report.learnt_from),
        "learnt_from": report.learnt_from,
        "matrix": _matrix(evaluation),
        "matrix_figure": _matrix_figure(evaluation),
        "pairs": _pairs(report),
        "slices": kinds(report.slices),
        "worse": any(one.worse for one in report.slices),
        "has_map": report.map is not None and len(report.map.rows) > 1,
        "method": NAMES[report.map.method] if report.map else "",
        "shown": f"{len(report.gallery.rows):,}",
        "shown_count": len(report.gallery.rows),
        "selection": selection(report),
        "has_wrong": bool(np.isin(report.gallery.rows, evaluation.wrong()).any()),
        "trust": _drawn(trust_figures(report.evaluation)),
        "reliance": report.trust,
        "strangers": report.strangers,
        "strangers_figure": _drawn(strangers_figures(report.strangers)),
        "corruptions": corruptions(report.robustness),
        "training": _drawn(training_figures(report.history)),
        "ranking": _drawn(ranking_figures(report.evaluation)),
        "network": _drawn(network_figures(report.network))[0],
        "facts": report.facts,
        "recipe": report.recipe,
        "made": report.made,
        "version": report.version,
    }


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
    # Between a depth of 0.5 and 0.87 neither dark nor light figures could be read on it.
    depths = np.where(shares > 0.3, 0.87 + 0.13 * shares, 0.5 * np.sqrt(shares / 0.3))
    return {"order": order_by_confusion(evaluation).tolist(), "counts": counts.tolist(), "depths": depths.tolist()}


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


def _drawn(made: Captioned) -> list[dict[str, Any]]:
    from markupsafe import Markup

    return [
        {"svg": Markup(inline_svg(figure, name, caption)), "caption": caption}
        for name, (figure, caption) in made.items()
    ]
