"""report: what a trained classifier is worth, as one page that can be sent to anyone.

In: a run's folder, and pictures if not its own. Out: an HTML file and, if asked for, Markdown and PDF beside it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shoebox.base.errors import UsageError
from shoebox.base.files import atomic_write
from shoebox.base.progress import QUIET, Progress
from shoebox.classifier import Classifier
from shoebox.deploy.gathering import gather
from shoebox.deploy.printing import find_browser, print_figures, print_page
from shoebox.evaluation import figures
from shoebox.evaluation.exhibits import network_figures, ranking_figures, training_figures, trust_figures
from shoebox.evaluation.markdown import markdown
from shoebox.evaluation.report import Report, page

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def report(
    run: Path | str,
    data: str | Path | None = None,
    *,
    part: str | None = None,
    foreign: str | Path | None = None,
    out: Path | None = None,
    markdown_too: bool = False,
    pdf_too: bool = False,
    method: Literal["tsne", "umap"] = "tsne",
    cache: Path | None = None,
    device: str = "auto",
    progress: Progress = QUIET,
) -> dict[str, Any]:
    """Write the report of a trained classifier.

    Args:
        run: its folder.
        data: the pictures to measure it on; by default those it was trained with, of which its test part counts.
        part: "train", "val" or "test"; by default test, else val, else every labelled picture.
        foreign: pictures of none of the classes, to measure how well they are told from the others.
        out: the HTML file; by default `report.html` in the run's folder. Markdown and PDF have its name.
        method: how the map is made; "umap" needs the extra umap.

    Returns:
        report, markdown, pdf (paths, or None), pictures, shown (numbers), accuracy, headline, seconds.

    Raises:
        UsageError: no such classifier or pictures, or `out` cannot be written to.
    """
    started = time.monotonic()
    run = Path(run)
    out = run / "report.html" if out is None else Path(out)
    if out.suffix.lower() not in (".html", ".htm") or not out.parent.is_dir():
        raise UsageError(f"--out {out}: expected a file ending in .html in a folder that is there")
    classifier = Classifier.load(run, device)
    made = gather(classifier, run, data, part, foreign=foreign, method=method, cache=cache, progress=progress)
    progress.say("writing the page")
    with atomic_write(out, "w") as file:
        file.write(page(made))
    beside = {
        "markdown": write_markdown(made, out) if markdown_too else None,
        "pdf": write_pdf(made, out, progress) if pdf_too else None,
    }
    return {
        "report": str(out),
        **{kind: None if path is None else str(path) for kind, path in beside.items()},
        "pictures": len(made.evaluation),
        "shown": len(made.gallery.rows),
        "accuracy": made.intervals["accuracy"].value,
        "headline": made.verdict.headline,
        "seconds": round(time.monotonic() - started, 2),
    }


def told(result: dict[str, Any]) -> str:
    """What `report` returned, for a person at a terminal."""
    files = [str(result[kind]) for kind in ("report", "markdown", "pdf") if result[kind]]
    return "\n".join([result["headline"], *files])


def drawings(made: Report) -> dict[str, Figure]:
    """The report's figures by what they show, for Markdown and for a PDF without a browser."""
    evaluation = made.evaluation
    drawn = {"Confusion matrix": figures.confusion_matrix(evaluation, order="confusion")}
    if made.map is not None:
        drawn["Map of the pictures"] = figures.embedding_map(evaluation, made.map)
    groups = (trust_figures(evaluation), training_figures(made.history), ranking_figures(evaluation))
    for group in (*groups, network_figures(made.network)):
        drawn |= {caption: figure for figure, caption in group.values()}
    return drawn


def write_markdown(made: Report, out: Path) -> Path:
    """Write `<out>.md`, and its figures to the folder `<out>-figures`."""
    drawn = drawings(made)
    folder = out.with_name(f"{out.stem}-figures")
    files = figures.write_figures(folder, {f"{number}": figure for number, figure in enumerate(drawn.values(), 1)})
    images = {about: f"{folder.name}/{path.name}" for about, path in zip(drawn, files, strict=True)}
    target = out.with_suffix(".md")
    with atomic_write(target, "w") as file:
        file.write(markdown(made, images))
    return target


def write_pdf(made: Report, out: Path, progress: Progress) -> Path:
    """Write `<out>.pdf`: the page as a browser prints it, or its figures alone where there is no browser."""
    target = out.with_suffix(".pdf")
    browser = find_browser()
    if browser:
        print_page(browser, out, target)
    else:
        progress.say("no Chromium, Chrome or Edge was found: the PDF holds the figures alone")
        print_figures(drawings(made).values(), target)
    return target
