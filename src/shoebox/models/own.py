"""A person's own networks: Python files that they name, which register builders in `MODELS`."""

import importlib.util
from pathlib import Path

from shoebox.base.errors import UsageError


def import_file(path: Path) -> None:
    """Run a Python file, so that the networks it registers can be named like those that come with Shoebox.

    Only ever called with a file that the person named on the command line or in their own code; a saved classifier
    cannot ask for it.

    Raises:
        UsageError: no such file, or it fails.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise UsageError(f"--import {path}: expected a Python file that registers networks")
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    except Exception as e:
        raise UsageError(f"--import {path}: {type(e).__name__}: {e}") from e
