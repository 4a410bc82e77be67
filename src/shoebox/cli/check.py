"""Verbs that look after the pictures themselves: check, fix."""

from pathlib import Path
from typing import Annotated, Any

import typer

from shoebox.base.progress import progress_for
from shoebox.cli.options import Cache, Data, Device, Hush, Json
from shoebox.cli.output import emit


def check(
    source: Data,
    labels: Annotated[bool, typer.Option("--labels", help="Also look for wrong labels and outliers; minutes.")] = False,
    weights: Annotated[Path | None, typer.Option(help="A .safetensors backbone for --labels.")] = None,
    csv: Annotated[Path, typer.Option(help="Table of every picture found, for shoebox fix.")] = Path("check.csv"),
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 if there is an error.")] = False,
    cache: Cache = None,
    device: Device = "auto",
    json_: Json = False,
    quiet: Hush = False,
) -> None:
    """Find what is wrong with pictures: damaged files, copies, leaks, blurred and blank ones, shortcuts, wrong labels.

    Example: shoebox check pictures/ --labels --html check.html
    """
    from shoebox.training.diagnose import diagnose

    options: dict[str, Any] = {
        "labels": labels,
        "weights": weights,
        "csv": csv,
        "html": html,
        "cache": cache,
        "device": device,
    }
    report = diagnose(source, progress=progress_for(quiet=quiet), **options)
    text = "\n".join([report.text(source, str(csv)), *(f"written: {path}" for path in (csv, html) if path)])
    emit({**report.to_dict(), "csv": str(csv), "html": html and str(html)}, json_, text)
    if strict and report.worst() == "error":
        raise typer.Exit(1)


def fix(
    source: Data,
    from_: Annotated[Path, typer.Option("--from", help="The check.csv of shoebox check.")],
    quarantine: Annotated[bool, typer.Option("--quarantine", help="Set broken and contradictory ones aside.")] = False,
    relabel: Annotated[bool, typer.Option("--relabel", help="Give suspects the suggested label.")] = False,
    drop: Annotated[bool, typer.Option("--drop-duplicates", help="Keep one of each group of copies.")] = False,
    move: Annotated[bool, typer.Option("--move", help="Move the files instead of writing labels.csv.")] = False,
    cache: Cache = None,
    json_: Json = False,
    quiet: Hush = False,
) -> None:
    """Do what a check suggests, in labels.csv beside the pictures or by moving files. Can be undone; deletes nothing.

    Example: shoebox fix pictures/ --from check.csv --drop-duplicates
    """
    from shoebox.data.fix import fix as perform
    from shoebox.data.fix import summary

    chosen = {"quarantine": quarantine, "relabel": relabel, "drop": drop}
    actions = [action for action, wanted in chosen.items() if wanted]
    result = perform(source, from_, actions=actions, move=move, cache=cache, progress=progress_for(quiet=quiet))
    emit(result, json_, summary(result))
