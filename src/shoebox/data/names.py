"""What the name of a file or folder says, and how a name is shown to a person.

In: names as the file system gives them (`os.fsdecode` form: bytes that are no UTF-8 are lone surrogates).
Out: which part of a data set a folder holds, whether a file is junk that no person put there, and a printable form.
"""

import os
import re
import unicodedata

from shoebox.base.progress import printable

# Case-insensitive. A prefix and a suffix are allowed: seg_train, my-val, training_set, test2017, test_images.
_ALIASES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
    "pile": ("pred", "predict", "pile", "unlabelled", "unlabeled"),
}
_PART_OF_ALIAS = {alias: part for part, aliases in _ALIASES.items() for alias in aliases}
_PART = re.compile(
    rf"(?:.*[_\-. ])?({'|'.join(_PART_OF_ALIAS)})(?:[_\-. ]?(?:set|data|images|split|\d{{4}}))?", re.IGNORECASE
)

# What operating systems, cameras and synchronisers leave behind; names that start with a dot are junk too.
_JUNK = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "__macosx", "$recycle.bin", "system volume information"}
    | {"lost+found", "icon\r", "#recycle"}
)


def part_of(name: str) -> str | None:
    """The part ("train", "val", "test" or "pile") that a folder of this name holds, or None.

    "train" and "training" mean train; "val", "valid", "validation", "dev" mean val; "test", "testing", "eval",
    "evaluation" mean test; "pred", "predict", "pile", "unlabelled" mean pile. Case does not matter, a prefix that ends
    in `_`, `-`, `.` or a space is allowed ("seg_train"), and so is one of set, data, images, split or a year behind it.
    """
    match = _PART.fullmatch(name)
    return _PART_OF_ALIAS[match[1].lower()] if match else None


def is_junk(name: str) -> bool:
    """Whether a file or folder is hidden or left behind by a program: .DS_Store, ._photo.jpg, Thumbs.db, @eaDir, …"""
    return name.startswith(".") or name.lower() in _JUNK


def lookalike(name: str) -> str:
    """A key that two names share when they differ only in case or in Unicode composition (NFC, NFD)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def one_line(name: str | os.PathLike[str]) -> str:
    """A name for a message: on one line, control characters and bytes that are no UTF-8 as escapes."""
    return printable(os.fspath(name)).replace("\n", "\\n")
