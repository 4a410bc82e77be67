"""Verbs that put a classifier to work: sort, undo, export, serve."""

from pathlib import Path
from typing import Annotated, Any

import typer

from shoebox.base.errors import MissingExtra, UsageError
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


def serve(
    run: RunFolder,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0: any that is free.")] = 8000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's need a token.")
    ] = "127.0.0.1",
    token_file: Annotated[Path | None, typer.Option(help="File with the token; or set SHOEBOX_TOKEN.")] = None,
    name: Annotated[list[str] | None, typer.Option(help="A host name that clients may use; repeatable.")] = None,
    error: Annotated[float, typer.Option(help="Share of mistakes promised among answers not unsure.")] = 0.05,
    unknown: Annotated[float, typer.Option(help="Share that may be wrongly taken for foreign; 0: none.")] = 0.01,
    data: Annotated[
        Path | None, typer.Option(help="Folder that the page may check and train on; none without.")
    ] = None,
    import_: Import = None,
    device: Device = "auto",
    quiet: Hush = False,
) -> None:
    """Show a web page, and answer over HTTP: POST pictures to /v1/predict. A new version in the folder is taken up.

    Example: shoebox serve runs/pictures --port 8000
    """
    from shoebox.serve.settings import Settings, read_token

    try:
        from shoebox.page.mount import mount
        from shoebox.serve.run import serve as perform
    except ImportError as e:
        raise MissingExtra(e.name or "fastapi", "serve") from e
    import_own(import_)
    choices: dict[str, Any] = {"error": error, "unknown": unknown, "data": data, "device": device}
    perform(run, Settings(host, port, read_token(token_file), tuple(name or ()), **choices), (mount,), quiet=quiet)
