"""Verbs that use a classifier: evaluate, predict."""

from pathlib import Path
from typing import Annotated

import typer

from shoebox.base.progress import progress_for
from shoebox.cli.options import Cache, Data, Device, Hush, Import, Json, RunFolder, import_own
from shoebox.cli.output import emit


def evaluate(
    run: RunFolder,
    source: Data,
    part: Annotated[str | None, typer.Option(help="train, val or test; by default test, else val, else all.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for figures and tables; by default RUN/results.")] = None,
    import_: Import = None,
    cache: Cache = None,
    device: Device = "auto",
    json_: Json = False,
    quiet: Hush = False,
) -> None:
    """Score a classifier on labelled pictures and draw the figures.

    Example: shoebox evaluate runs/pictures pictures/
    """
    from shoebox.classifier import Classifier

    import_own(import_)
    results, progress = out or run / "results", progress_for(quiet=quiet)
    evaluation = Classifier.load(run, device).evaluate(source, part, results=results, cache=cache, progress=progress)
    metrics = evaluation.metrics()
    figures = "\n".join(f"{name:16} {value:.4f}" for name, value in metrics.items())
    text = f"{evaluation.report_text()}\n{figures}\n\n{len(evaluation)} pictures; figures and tables are in {results}"
    emit(
        {"run": str(run), "part": evaluation.part, "pictures": len(evaluation), **metrics, "results": str(results)},
        json_,
        text,
    )


def predict(
    run: RunFolder,
    pictures: Annotated[list[str], typer.Argument(help="Files, folders or globs; - for a list on stdin.")],
    top: Annotated[int, typer.Option(min=1, help="How many classes to give.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Write a .csv, .jsonl or .parquet file; continues one.")] = None,
    tta: Annotated[float | None, typer.Option(help="Look again, shifted, at pictures less sure than this.")] = None,
    import_: Import = None,
    device: Device = "auto",
    json_: Json = False,
    quiet: Hush = False,
) -> None:
    """Say what is in pictures.

    Example: shoebox predict runs/pictures photo.jpg holiday/ --out holiday.csv
    """
    from shoebox.deploy.predict import predict_files, predict_text

    import_own(import_)
    if out is None and not json_:
        return predict_text(run, pictures, top, device=device, tta=tta, write=print)
    progress = progress_for(quiet=quiet)
    result = predict_files(run, pictures, top, out=out, device=device, tta=tta, progress=progress)
    return emit(result, json_, f"{out}")
