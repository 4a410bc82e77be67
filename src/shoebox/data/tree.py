"""Every file and folder below a root, read once, with no `stat` where the directory itself tells what an entry is.

In: a folder. Out: the files that may be pictures, the folders, what was not taken and why.
"""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from shoebox.base.errors import ShoeboxError
from shoebox.data.index import Skipped
from shoebox.data.names import is_junk, one_line
from shoebox.data.signature import HEAD, sniff

# Linux's PATH_MAX, its closing zero byte included: the system opens nothing that is longer.
MAX_PATH = 4096

_PICTURES = frozenset(
    {"jpg", "jpeg", "jpe", "jfif", "png", "apng", "gif", "webp", "bmp", "dib", "tif", "tiff", "mpo"}
    | {"ppm", "pgm", "pbm", "pnm", "avif", "avifs", "heic", "heif", "hif"}
)
# Files that people and tools lay beside pictures: passed over, not reported one by one.
_SIDECARS = frozenset(
    {"txt", "md", "rst", "json", "jsonl", "ndjson", "csv", "tsv", "parquet", "xml", "yaml", "yml", "toml", "ini"}
    | {"cfg", "log", "html", "htm", "npy", "npz", "mat", "pkl", "pt", "pth", "safetensors", "db", "sqlite", "lst"}
    | {"names", "py", "ipynb", "sh", "aae", "xmp", "thm", "license"}
)


def folder_of(path: str) -> str:
    """What holds a file or folder of a `Tree`; "" at the top."""
    return path.rpartition("/")[0]


def name_of(path: str) -> str:
    """The last name of a path of a `Tree`."""
    return path.rpartition("/")[2]


@dataclass
class Tree:
    """What lies below a root; paths are relative to it, with `/` between folders, and sorted.

    Attributes:
        files: regular files that are pictures by their extension, or by their first bytes if the extension is odd.
        folders: all folders, empty ones too.
        skipped: what was not taken, and why.
        ignored: how many hidden, junk and side files were passed over.
    """

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    ignored: int = 0


def read_tree(root: Path, *, follow_links: bool = False) -> Tree:
    """List what lies below `root`.

    A link to a file within the root counts as a file. Any other link is skipped and listed, unless `follow_links`; then
    every folder is entered once, by its own name where it has one below the root, so a loop of links ends.

    Raises:
        ShoeboxError: the root itself cannot be read.
    """
    return _Reader(root, follow_links).read()


class _Reader:
    """One walk over a tree."""

    def __init__(self, root: Path, follow_links: bool) -> None:
        self.root = os.fspath(root)
        self.real_root = os.path.realpath(root)
        self.follow_links = follow_links
        self.tree = Tree()
        self.waiting: list[str] = [""]
        self.linked: list[str] = []  # folders behind links wait until all real ones are known
        self.entered: set[tuple[int, int]] = set()

    def read(self) -> Tree:
        while self.waiting or self.linked:
            if not self.waiting:
                self.waiting.append(self.linked.pop(0))
                self.tree.folders.append(self.waiting[0])
            folder = self.waiting.pop()
            if self.follow_links and not self.enter(folder):
                self.tree.folders.remove(folder)
                self.skip(folder, "a folder that is read already, under another name")
            else:
                self.read_folder(folder)
        for found in (self.tree.files, self.tree.folders):
            found.sort()
        self.tree.skipped.sort(key=lambda s: s.path)
        return self.tree

    def read_folder(self, folder: str) -> None:
        try:
            with os.scandir(self.full(folder)) as entries:
                for entry in sorted(entries, key=lambda e: e.name):
                    self.read_entry(entry, f"{folder}/{entry.name}" if folder else entry.name)
        except OSError as e:
            if not folder:
                raise ShoeboxError(f"{one_line(self.root)}: the folder cannot be read ({e.strerror})") from e
            self.skip(folder, f"the folder cannot be read ({e.strerror})")

    def read_entry(self, entry: os.DirEntry[str], path: str) -> None:
        if is_junk(entry.name):
            self.tree.ignored += 1
        elif len(path) > MAX_PATH // 8 and len(os.fsencode(self.full(path))) >= MAX_PATH:
            self.skip(path, f"the path is longer than {MAX_PATH - 1:,} bytes")
        elif entry.is_symlink():
            self.read_link(path)
        elif entry.is_dir(follow_symlinks=False):
            self.tree.folders.append(path)
            self.waiting.append(path)
        elif entry.is_file(follow_symlinks=False):
            self.read_file(path)
        else:
            self.skip(path, "not a regular file")

    def read_link(self, path: str) -> None:
        try:
            mode = Path(self.full(path)).stat().st_mode
        except OSError as e:
            self.skip(path, f"a link that leads nowhere ({e.strerror})")
            return
        target = os.path.realpath(self.full(path))
        if stat.S_ISDIR(mode) and self.follow_links:
            self.linked.append(path)
        elif stat.S_ISDIR(mode):
            self.skip(path, "a link to a folder, which is not followed unless asked for")
        elif not stat.S_ISREG(mode):
            self.skip(path, "not a regular file")
        elif self.follow_links or target.startswith(self.real_root.rstrip(os.sep) + os.sep):
            self.read_file(path)
        else:
            self.skip(path, "a link out of the folder, which is not followed unless asked for")

    def read_file(self, path: str) -> None:
        _, dot, extension = name_of(path).rpartition(".")
        extension = extension.lower() if dot else ""
        if extension in _PICTURES:
            self.tree.files.append(path)
        elif extension in _SIDECARS:
            self.tree.ignored += 1
        else:
            try:
                with Path(self.full(path)).open("rb") as file:
                    format, kind = sniff(file.read(HEAD))
            except OSError as e:
                self.skip(path, f"cannot be read ({e.strerror})")
                return
            if format:
                self.tree.files.append(path)
            else:
                self.skip(path, f"not a picture Shoebox opens: it holds {kind}")

    def enter(self, folder: str) -> bool:
        """Note that a folder is being read; False if it has been already, under any name."""
        try:
            status = Path(self.full(folder)).stat()
        except OSError:
            return True  # reading it will say why
        known = (status.st_dev, status.st_ino) in self.entered
        self.entered.add((status.st_dev, status.st_ino))
        return not known

    def skip(self, path: str, reason: str) -> None:
        self.tree.skipped.append(Skipped(path, reason))

    def full(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root
