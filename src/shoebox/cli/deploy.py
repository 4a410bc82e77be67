"""Verbs that put a classifier to work: export."""

from pathlib import Path
from typing import Annotated

import typer

from shoebox.base.progress import progress_for
from shoebox.cli.options import Hush, Import, Json, RunFolder, import_own
from shoebox.cli.output import emit


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
