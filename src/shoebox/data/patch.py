"""The patch: better labels for some pictures, and pictures to leave out, in a small file beside the data.

In: `labels.csv` in the data set's folder, with the columns path, label, why; an empty label leaves the picture out.
Every source reads it (`shoebox.data.sources`), so nobody's files are touched and removing it takes everything back.
Out: the index, corrected.
"""

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.files import atomic_write
from shoebox.base.tables import harmless
from shoebox.data.index import UNLABELLED, ImageIndex, Skipped, listed
from shoebox.data.names import one_line

NAME = "labels.csv"
COLUMNS = ("path", "label", "why")
LEFT_OUT = "left out by labels.csv"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Correction:
    """What the patch says of one picture.

    Attributes:
        label: the name of its class; None leaves the picture out.
        why: for the reader.
    """

    label: str | None
    why: str = ""


Patch = Mapping[str, Correction]


def is_patch(path: Path) -> bool:
    """Whether a file is a patch of Shoebox's, by its first line; another program's labels.csv is not."""
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            return next(csv.reader(file), [])[: len(COLUMNS)] == list(COLUMNS)
    except (OSError, csv.Error):
        return False


def read_patch(path: Path) -> dict[str, Correction]:
    """Read a patch; the last line about a picture counts. A file that is not there is an empty patch.

    Raises:
        ShoeboxError: it cannot be read, or lacks a column for the path or the label.
    """
    patch = {}
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file)
            if not {"path", "label"} <= set(reader.fieldnames or ()):
                raise ShoeboxError(f"{one_line(path)}: not a list of labels: expected the columns {', '.join(COLUMNS)}")
            for line in reader:
                name, label = str(line["path"] or ""), str(line["label"] or "")
                if name:
                    patch[_plain(name)] = Correction(_unquoted(label) or None, str(line.get("why") or ""))
    except FileNotFoundError:
        return {}
    except (OSError, csv.Error) as e:
        raise ShoeboxError(f"{one_line(path)}: the labels cannot be read ({e})") from e
    return patch


def write_patch(path: Path, patch: Patch) -> None:
    """Write a patch, sorted by path; atomically. An empty one removes the file."""
    if not patch:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path, "wb") as file:
        file.write(patch_text(patch))


def patch_text(patch: Patch) -> bytes:
    """The patch as `write_patch` writes it. A path or label that a spreadsheet would run is made harmless."""
    lines = [COLUMNS]
    for name, said in sorted(patch.items()):
        shown = f"./{name}" if name.startswith(_FORMULA) else name
        label = said.label or ""
        lines.append((shown, f"'{label}" if label.startswith((*_FORMULA, "'")) else label, str(harmless(said.why))))
    text = "\n".join(",".join(_quoted(cell) for cell in line) for line in lines) + "\n"
    return text.encode("utf-8", "surrogateescape")


def patched(index: ImageIndex, path: Path) -> ImageIndex:
    """The index as a patch corrects it: rows relabelled, rows left out (and listed as skipped).

    Raises:
        UsageError: the patch names a class that the data set does not have.
        ShoeboxError: as `read_patch`.
    """
    patch = read_patch(path)
    position = {name: i for i, name in enumerate(index.classes)}
    labels, kept = index.labels.copy(), np.ones(len(index), bool)
    row_of = {name: i for i, name in enumerate(index.paths)}
    unknown, left_out, changed = 0, [], 0
    for name, said in patch.items():
        row = row_of.get(name)
        if row is None:
            unknown += 1
        elif said.label is None:
            kept[row] = False
            left_out.append(Skipped(name, f"{LEFT_OUT}{f': {said.why}' if said.why else ''}"))
        elif said.label not in position:
            raise UsageError(
                f"{one_line(path)} gives {one_line(name)} the class '{one_line(said.label)}', which is none of "
                f"{listed(index.classes)}"
            )
        elif labels[row] != position[said.label]:
            labels[row] = position[said.label]
            changed += 1
    part = index.part.copy()
    part[(labels != UNLABELLED) & (index.labels == UNLABELLED)] = ""
    notes = [f"{path.name}: {changed:,} labels changed, {len(left_out):,} pictures left out"] if patch else []
    if unknown:
        notes.append(f"{path.name} names {unknown:,} files that are not among the pictures")
    corrected = replace(index, labels=labels, part=part, skipped=(*index.skipped, *left_out))
    return corrected.take(kept).with_warnings(*notes)


def require_own(path: Path) -> None:
    """See that a patch may be written here.

    Raises:
        UsageError: another program's file has the name.
    """
    if path.exists() and not is_patch(path):
        raise UsageError(
            f"{one_line(path)} is there already and is not Shoebox's: rename it, or move the files instead"
        )


def _plain(name: str) -> str:
    return os.path.normpath(name).replace(os.sep, "/")


def _unquoted(label: str) -> str:
    return label[1:] if label.startswith("'") else label


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(c in cell for c in ',"\r\n') else cell
