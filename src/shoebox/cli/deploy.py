"""Verbs that put a classifier to work: sort, undo, export."""

from pathlib import Path
from typing import Annotated, Any

import typer

from shoebox.base.errors import UsageError
from shoebox.base.progress import progress_for
from shoebox.cli.options import Device, Hush, Import, Json, RunFolder, import_own
from shoebox.cli.output import agreement, emit


def export(
    run: RunFolder,
    to: Annotated[str, typer.Option(help="onnx, onnx-int8, openvino, torch-export or web.")] = "onnx",
    out: Annotated[Path | None, typer.Option(help="Folder to make; by default RUN/exports/<form>.")] = None,
    data: Annotated[Path | None, typer.Option(help="Where the training data lie, if they have moved.")] = None,
    import_: Import = None,
    json_: Json = False,
    quiet: Hush = False,
) -> None:
    """Export a classifier with a certificate that it still answers alike, and find the fastest way to run it here.

    Example: shoebox export runs/pictures --to onnx
    """
    from shoebox.deploy.export import export as perform
    from shoebox.deploy.export import summary

    import_own(import_)
    result = perform(run, to, out, data, progress=progress_for(quiet=quiet))
    emit(result, json_, summary(result))


def sort(
    run: RunFolder,
    pile: Annotated[Path, typer.Argument(help="Folder of pictures; all below it are sorted.")],
    to: Annotated[Path, typer.Option(help="Folder to sort into; made if missing.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Go on without asking.")] = False,
    move: Annotated[bool, typer.Option("--move", help="Move the pictures instead of copying them.")] = False,
    link: Annotated[bool, typer.Option("--link", help="Hard links instead of copies.")] = False,
    error: Annotated[float, typer.Option(help="Share of mistakes promised not to be exceeded.")] = 0.05,
    threshold: Annotated[float | None, typer.Option(help="Least confidence, instead of --error's.")] = None,
    unknown: Annotated[float, typer.Option(help="Share that may be wrongly taken for foreign; 0: none.")] = 0.01,
    import_: Import = None,
    device: Device = "auto",
    json_: Json = False,
    quiet: Hush = False,
) -> None:
    """Sort a pile into a folder a class, the doubtful ones apart. Shows a plan first; shoebox undo takes it back.

    Example: shoebox sort runs/pictures unsorted/ --to sorted/
    """
    from shoebox.deploy.sort import sort as perform
    from shoebox.deploy.sort import summary

    if move and link:
        raise UsageError("--move and --link exclude each other")
    import_own(import_)
    how = "move" if move else "link" if link else "copy"
    choices: dict[str, Any] = {"how": how, "error": error, "threshold": threshold, "unknown": unknown, "device": device}
    result = perform(run, pile, to, agree=agreement(yes), progress=progress_for(quiet=quiet), **choices)
    emit(result, json_, summary(result))


def undo(
    journal: Annotated[Path, typer.Argument(help="A journal, or a folder that was sorted into or fixed.")],
    json_: Json = False,
    quiet: Hush = False,
) -> None:
    """Take back what a journal says was done: every file where it was, under the name it had.

    Example: shoebox undo sorted/
    """
    from shoebox.base.journal import undo_last

    path, outcome = undo_last(journal, progress=progress_for(quiet=quiet))
    failures = [str(failure) for failure in outcome.failures]
    text = "\n".join(
        [
            f"{outcome.done:,} {'file is' if outcome.done == 1 else 'files are'} as before",
            *(f"left: {failure}" for failure in failures),
        ]
    )
    emit({"journal": str(path), "undone": outcome.done, "failures": failures}, json_, text)
