"""Verbs that look closer at runs, or make many: report, compare, runs, robustness, sweep."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from shoebox.base.progress import progress_for
from shoebox.cli.options import Cache, Data, Device, Hush, Import, Json, RunFolder, import_own, settings_of
from shoebox.cli.output import emit, table


def report(
    run: RunFolder,
    source: Annotated[str | None, typer.Argument(metavar="[DATA]", help="Pictures; by default the run's own.")] = None,
    part: Annotated[str | None, typer.Option(help="train, val or test; by default test, else val, else all.")] = None,
    foreign: Annotated[str | None, typer.Option(help="Pictures of none of the classes: are they noticed?")] = None,
    out: Annotated[Path | None, typer.Option(help="The HTML file; by default RUN/report.html.")] = None,
    md: Annotated[bool, typer.Option("--md", help="Markdown too, with its figures in a folder beside it.")] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="A PDF too.")] = False,
    umap: Annotated[bool, typer.Option("--umap", help="Map the pictures by UMAP, not t-SNE (extra umap).")] = False,
    import_: Import = None,
    cache: Cache = None,
    device: Device = "auto",
    json_: Json = False,
    quiet: Hush = False,
) -> None:
    """Write one page that says how good a classifier is, where it errs, why, and what would help.

    Example: shoebox report runs/pictures --md --pdf
    """
    from shoebox.deploy import report as public

    import_own(import_)
    common: dict[str, Any] = {"cache": cache, "device": device, "progress": progress_for(quiet=quiet)}
    common |= {"foreign": foreign, "markdown_too": md, "pdf_too": pdf, "method": "umap" if umap else "tsne"}
    made = public.report(run, source, part=part, out=out, **common)
    emit(made, json_, public.told(made))


def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN_A RUN_B …", help="Folders of two or more runs.")],
    part: Annotated[str | None, typer.Option(help="test or val; by default test where all have one.")] = None,
    chain: Annotated[bool, typer.Option("--chain", help="Each against the one before, not the first.")] = False,
    json_: Json = False,
) -> None:
    """Compare runs on the same pictures: who is better, by how much, and whether that is more than chance.

    Example: shoebox compare runs/pictures runs/pictures-2
    """
    from shoebox.training.runs import compare_runs, comparison_text

    comparison = compare_runs(folders, part=part, chain=chain)
    emit(comparison.to_dict(), json_, comparison_text(comparison, table(comparison.rows())))


def runs(
    folder: Annotated[Path, typer.Argument(help="Folder that holds runs.")] = Path("runs"),
    json_: Json = False,
) -> None:
    """List the runs in a folder, the newest first.

    Example: shoebox runs
    """
    from shoebox.training.runs import list_runs

    rows = list_runs(folder)
    emit({"runs": rows}, json_, table([_short(row) for row in rows]) or f"no run in {folder}")


def robustness(
    run: RunFolder,
    source: Data,
    part: Annotated[str | None, typer.Option(help="train, val or test; by default test, else val, else all.")] = None,
    import_: Import = None,
    cache: Cache = None,
    device: Device = "auto",
    json_: Json = False,
    quiet: Hush = False,
) -> None:
    """Score a classifier on noisy, blurred, brighter, darker, compressed, turned and cropped pictures.

    Example: shoebox robustness runs/pictures pictures/
    """
    from shoebox.classifier import Classifier

    import_own(import_)
    classifier = Classifier.load(run, device)
    measured = classifier.robustness(source, part, cache=cache, progress=progress_for(quiet=quiet))
    rows = [asdict(one) for one in measured]
    emit({"run": str(run), "robustness": rows}, json_, table([_short(row) for row in rows]))


def sweep(
    source: Data,
    over: Annotated[
        list[str],
        typer.Option("--over", help="A field and its values: 'lr=log(1e-4,1e-1)', 'model=choice(\"a\",\"b\")'."),
    ],
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="A shipped recipe or a YAML file.")] = "fast",
    trials: Annotated[int, typer.Option(min=1, help="How many in all, over all processes.")] = 20,
    minutes: Annotated[float | None, typer.Option(help="After these the sweep is set aside.")] = None,
    run: Annotated[Path | None, typer.Option(help="The sweep's folder; by default runs/<data>-sweep.")] = None,
    storage: Annotated[str | None, typer.Option(help="A database for many machines; by default a file.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting of every trial, key=value.")] = None,
    import_: Import = None,
    cache: Cache = None,
    device: Device = "auto",
    json_: Json = False,
    quiet: Hush = False,
) -> None:
    """Search settings by many short trainings and keep the best. The same command continues or joins a sweep.

    Example: shoebox sweep pictures/ --trials 12 --set epochs=3 --over 'lr=log(1e-2,1)'
    """
    from shoebox.scale import sweep as public

    import_own(import_)
    common: dict[str, Any] = {
        "run": run,
        "storage": storage,
        "device": device,
        "cache": cache,
        "progress": progress_for(quiet=quiet),
    }
    result = public.sweep(source, recipe, over=over, trials=trials, minutes=minutes, **common, **settings_of(set_))
    emit(result, json_, public.summary(result))


def _short(row: dict[str, object]) -> dict[str, object]:
    """A row with its figures to four places."""
    return {key: f"{value:.4f}" if isinstance(value, float) and key != "MB" else value for key, value in row.items()}
