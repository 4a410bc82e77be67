"""A folder of the cache that is built once: it is there whole, or not at all."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# A build that was killed leaves its unfinished folder behind; after this many seconds nobody can be working on it.
ABANDONED = 24 * 3600


def stash(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return `folder`, having it built if it is not there.

    Args:
        folder: the result. Its name must identify what is built, since a folder of that name is taken as it is.
        build: fills an empty folder given to it, which is renamed to `folder` when that is done. Two processes at once
            both build, and the first to end wins.

    Raises:
        OSError: the cache cannot be written, or is full; what was half built is removed, as after any other error.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        build(unfinished)
        unfinished.chmod(0o755)  # mkdtemp's is for this person alone
        with contextlib.suppress(OSError):  # another process was faster, if the folder is there now
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    if not folder.is_dir():
        raise OSError(f"{os.fspath(folder)} could not be put in place")
    return folder


def _sweep(parent: Path) -> None:
    for path in parent.glob(".unfinished-*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                shutil.rmtree(path, ignore_errors=True)
