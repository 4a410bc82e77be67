"""The loop of a person who goes through the suspected labels one by one and says which is right.

In: the `check.csv` of a check with labels. Out: `Suspect`s in its order, and decisions, each kept at once in the data's
`labels.csv` (`shoebox.data.patch`), which every source reads; so the loop can be left and taken up at any time.

    for suspect in read_suspects(index, Path("check.csv")):
        decide(index.root / "labels.csv", suspect.path, suspect.suggested)  # accept; .given rejects; None leaves it out
"""

from dataclasses import dataclass
from pathlib import Path

from shoebox.data.check import read_report, real_names
from shoebox.data.index import ImageIndex
from shoebox.data.patch import NAME, Correction, read_patch, require_own, write_patch


@dataclass(frozen=True)
class Suspect:
    """A picture whose label may be wrong.

    Attributes:
        path: as in the index.
        given, suggested: names of classes.
        detail: why it is suspected.
        decided: the class that has been chosen; "" if the picture is left out; None if nobody has looked yet.
    """

    path: str
    given: str
    suggested: str
    detail: str
    decided: str | None = None


def read_suspects(index: ImageIndex, table: Path, patch_file: Path | None = None) -> list[Suspect]:
    """The suspected labels of a `check.csv`, in its order, the likeliest first; those of pictures that are gone are
    passed over.

    Args:
        index: the data set, with its patch or without.
        patch_file: by default `labels.csv` beside the pictures.

    Raises:
        ShoeboxError: the table or the patch cannot be read.
    """
    patch = read_patch(patch_file or index.root / NAME)
    real, classes = real_names([*index.paths, *patch]), real_names(index.classes)
    return [
        Suspect(
            path,
            classes[row["label"]],
            classes[row["suggested"]],
            row.get("detail") or "",
            (patch[path].label or "") if path in patch else None,
        )
        for row in read_report(table)
        if (path := real.get(row["path"])) is not None and row["label"] in classes and row["suggested"] in classes
    ]


def decide(patch_file: Path, path: str, label: str | None, why: str = "decided by a person") -> None:
    """Keep a decision about one picture, atomically.

    Args:
        patch_file: the data's `labels.csv`; made if missing.
        path: as in the index.
        label: the suggested class (accepted), the given one (rejected: it stays, and is known to be right), any other,
            or None to leave the picture out.

    Raises:
        UsageError: another program's `labels.csv` is there.
        ShoeboxError: it cannot be read.
    """
    require_own(patch_file)
    write_patch(patch_file, {**read_patch(patch_file), path: Correction(label, why)})


def forget(patch_file: Path, path: str) -> None:
    """Take a decision back; errors as `decide`."""
    require_own(patch_file)
    write_patch(patch_file, {name: said for name, said in read_patch(patch_file).items() if name != path})
