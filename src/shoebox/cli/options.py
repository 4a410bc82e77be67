"""Arguments and options that several verbs share, and the reading of settings."""

from pathlib import Path
from typing import Annotated, Any

import typer

from shoebox.base.errors import UsageError

Data = Annotated[
    str, typer.Argument(help="Folder, archive, CSV/JSONL/Parquet, named set (digits, cifar10, …) or hf:owner/name.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a trained classifier.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Hush = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but the result and errors.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Cache = Annotated[Path | None, typer.Option(help="Folder for packs and unpacked archives instead of the user's cache.")]
Import = Annotated[list[Path] | None, typer.Option("--import", help="A Python file of your own networks.")]


def settings_of(assignments: list[str] | None, **given: Any) -> dict[str, Any]:
    """Settings from --set and from options of their own; naming one twice is an error."""
    from shoebox.base.recipe import parse_settings

    settings = parse_settings(assignments or [])
    named = {key: value for key, value in given.items() if value is not None}
    if both := settings.keys() & named.keys():
        raise UsageError(f"{', '.join(sorted(both))} is given twice: as an option and with --set")
    return settings | named


def import_own(files: list[Path] | None) -> None:
    """Run the Python files a person named, so that their networks are registered."""
    if files:
        from shoebox.models.own import import_file

        for file in files:
            import_file(file)
