"""Where pictures come from: whatever a person names, as an ImageIndex.

In: a folder, an archive, a table, or the name of a data set. A path that exists always wins over a name.
Out: the index, with parts where the source has them and "" where the split is still to be made (`split`).
"""

import difflib
import os
from dataclasses import replace
from pathlib import Path

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.files import cache_folder
from shoebox.base.progress import QUIET, Progress
from shoebox.base.registry import parse_spec
from shoebox.data.archive import is_archive, unpack
from shoebox.data.folder import open_folder
from shoebox.data.hub import hub_folder
from shoebox.data.index import ImageIndex
from shoebox.data.named import SOURCES, named_folder
from shoebox.data.names import one_line
from shoebox.data.patch import NAME, is_patch, patched
from shoebox.data.table import is_table, names_classes, open_table

__all__ = ["SOURCES", "open_source"]


def open_source(
    data: str | os.PathLike[str],
    *,
    cache: Path | None = None,
    progress: Progress = QUIET,
    follow_links: bool = False,
    labels_file: Path | None = None,
) -> ImageIndex:
    """Open a data set, with the labels corrected by its `labels.csv` if it has one (`shoebox.data.patch`).

    Args:
        data: a folder (its rules are in `shoebox.data.folder`), a table (`shoebox.data.table`), an archive of either, a
            name of `SOURCES`, or "hf:owner/name".
        cache: where archives are unpacked and named sets are written; None for the default.
        follow_links: take what symbolic links in a folder lead to, outside it too.
        labels_file: corrections to read instead of that `labels.csv`.

    Raises:
        UsageError: there is neither a path nor a data set of that name, or the corrections name a class it lacks.
        ShoeboxError: it holds no picture, cannot be read or fetched, or has a class in val or test only.
        MissingExtra: a library for it is not installed.
    """
    index = _open(data, cache, progress, follow_links)
    if labels_file is not None and not labels_file.is_file():
        raise UsageError(f"{one_line(labels_file)}: there is no such file of labels")
    found = labels_file or index.root / NAME
    # A table of that name that was opened itself is no correction of itself.
    own = labels_file is None and (not is_patch(found) or found.absolute() == Path(data).absolute())
    return index if own else patched(index, found)


def _open(data: str | os.PathLike[str], cache: Path | None, progress: Progress, follow_links: bool) -> ImageIndex:
    text = os.fspath(data)
    path = Path(text)
    if _exists(path):
        return _open_path(path, cache, progress, follow_links)
    if isinstance(data, str):
        if data.startswith("hf:"):
            return open_folder(hub_folder(data[3:], cache_folder(cache), progress=progress))
        if _is_name(data):
            return open_folder(named_folder(data, cache_folder(cache), progress=progress))
    near = difflib.get_close_matches(text, SOURCES, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UsageError(
        f"{one_line(text)}: there is no such file or folder, and no data set of that name. {hint}"
        f"Data sets: {', '.join(sorted(SOURCES))}, hf:owner/name"
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or no name a file can have
        return False


def _is_name(text: str) -> bool:
    try:
        return parse_spec(text)[0] in SOURCES
    except UsageError:
        return False


def _open_path(path: Path, cache: Path | None, progress: Progress, follow_links: bool) -> ImageIndex:
    if path.is_dir():
        return open_folder(path, follow_links=follow_links)
    if not path.is_file():
        raise UsageError(f"{one_line(path)}: neither a file nor a folder")
    if is_table(path):
        return open_table(path)
    try:
        archive = is_archive(path)
    except OSError as e:
        raise ShoeboxError(f"{one_line(path)}: cannot be read ({e.strerror})") from e
    if not archive:
        raise UsageError(
            f"{one_line(path)}: neither an archive (zip, tar, tar.gz, tar.xz) nor a table (csv, jsonl, parquet); "
            "give the folder that holds the pictures"
        )
    folder, left_out = unpack(path, cache_folder(cache), progress=progress)
    index = _open_unpacked(folder)
    return replace(index, skipped=(*index.skipped, *left_out))


def _open_unpacked(folder: Path) -> ImageIndex:
    """An archive may hold a table and the pictures it lists, at its top or in its one folder."""
    top = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if len(top) == 1 and top[0].is_dir():
        top = [path for path in top[0].iterdir() if not path.name.startswith(".")]
    tables = [path for path in top if is_table(path) and path.is_file() and not is_patch(path) and names_classes(path)]
    return open_table(tables[0], confined=True) if len(tables) == 1 else open_folder(folder, confined=True)
