"""A folder of pictures as an ImageIndex: what the names of its folders mean.

The rules, in this order:

1. A folder that holds nothing but one folder of folders is a wrapper and is looked through (`cifar10/{train,test}`).
2. `metadata.csv`, `.jsonl` or `.parquet` with a path and a class column, in the folder or in a part of it, says which
   picture shows what (the convention of Hugging Face's imagefolder), and the names of folders no longer do.
3. Folders named as parts (`names.part_of`) are parts if all folders are, or if train and one of val or test are among
   them; other folders are then skipped and listed. A part may hold its own name once more (seg_train/seg_train/…). A
   part without folders for classes, as many test parts come, holds unlabelled pictures and joins the pile.
4. Otherwise every folder is a class. A folder inside a class belongs to that class, however deep.
5. Pictures beside the folders of classes have no class: skipped and listed. Where there are no folders at all, all
   pictures are unlabelled: a pile.
"""

import os
from collections import Counter, defaultdict
from pathlib import Path

from shoebox.base.errors import ShoeboxError
from shoebox.data.assembly import Row, assemble
from shoebox.data.index import ImageIndex, Skipped, listed
from shoebox.data.names import one_line, part_of
from shoebox.data.table import find_metadata, read_table
from shoebox.data.tree import Tree, folder_of, name_of, read_tree


def open_folder(root: Path, *, follow_links: bool = False, confined: bool = False) -> ImageIndex:
    """Read a folder by the rules above.

    Args:
        root: the folder.
        follow_links: take what links lead to as well, outside the folder too.
        confined: the folder comes from an archive, so a table in it may name no file outside.

    Raises:
        ShoeboxError: it holds no picture, cannot be read, or a class occurs in val or test only.
    """
    tree = read_tree(root, follow_links=follow_links)
    base = _unwrapped(tree)
    if base:
        root, tree = root / base, _below(tree, base, root)
    return _Layout(root, tree, confined).index()


class _Layout:
    """The meaning of one tree, row by row."""

    def __init__(self, root: Path, tree: Tree, confined: bool) -> None:
        self.root, self.tree, self.confined = root, tree, confined
        self.folders = _subfolders(tree)
        self.direct = Counter(folder_of(file) for file in tree.files)
        self.files: dict[str, list[str]] = defaultdict(list)  # by their first folder
        for file in tree.files:
            self.files[file.partition("/")[0] if "/" in file else ""].append(file)
        self.rows: list[Row] = []
        self.skipped = list(tree.skipped)
        self.declared: set[str] = set()

    def index(self) -> ImageIndex:
        table = find_metadata(self.root)
        parts = self.parts()
        if table:
            self.add_table(table, "")
        elif parts:
            for folder in self.folders[""]:
                if folder in parts:
                    self.add_part(folder, parts[folder])
                else:
                    self.skipped.append(
                        Skipped(folder, "lies beside train, val and test, but is named as none of them")
                    )
            self.skip_loose(self.files[""])
        elif self.folders[""]:
            self.add_classes("", self.tree.files, "", declare=True)
        else:
            self.rows += [Row(file, None, "pile") for file in self.tree.files]
        return assemble(self.root, self.rows, declared=self.declared, skipped=self.skipped, ignored=self.tree.ignored)

    def parts(self) -> dict[str, str]:
        """Which of the top folders are parts; empty if they are classes."""
        named = {folder: part for folder in self.folders[""] if (part := part_of(folder))}
        kinds = set(named.values())
        both = "train" in kinds and bool(kinds & {"val", "test"})
        if not named or not (both or len(named) == len(self.folders[""])):
            return {}
        if kinds == {"pile"} or any(self.holds_classes(folder) for folder, part in named.items() if part != "pile"):
            return named
        if both:
            raise ShoeboxError(
                f"{one_line(self.root)}: {listed(sorted(named))} hold no folders: "
                "put the pictures of each class into a folder of its own there"
            )
        return {}

    def holds_classes(self, folder: str) -> bool:
        return bool(self.folders[folder]) or find_metadata(self.root / folder) is not None

    def add_part(self, folder: str, part: str) -> None:
        files, inner = self.files[folder], self.folders[folder]
        if len(inner) == 1 and not self.direct[folder] and part_of(name_of(inner[0])) == part:
            folder = inner[0]
        if part == "pile":
            self.rows += [Row(file, None, "pile") for file in files]
        elif table := find_metadata(self.root / folder):
            self.add_table(table, part)
        elif not self.folders[folder]:
            self.rows += [Row(file, None, "pile") for file in files]
        else:
            self.add_classes(folder, files, part, declare=part == "train")

    def add_classes(self, base: str, files: list[str], part: str, *, declare: bool) -> None:
        start = len(base) + 1 if base else 0
        loose = []
        for file in files:
            name, slash, _ = file[start:].partition("/")
            if slash:
                self.rows.append(Row(file, name, part))
            else:
                loose.append(file)
        self.skip_loose(loose)
        if declare:
            self.declared.update(folder[start:] for folder in self.folders[base])

    def add_table(self, table: Path, part: str) -> None:
        rows, skipped = read_table(table, self.root, confined=self.confined)
        self.rows += [row._replace(part=row.part or part) for row in rows]
        self.skipped += skipped

    def skip_loose(self, files: list[str]) -> None:
        self.skipped += [Skipped(file, "lies beside the folders of the classes, so it has none") for file in files]


def _unwrapped(tree: Tree) -> str:
    """The folder below all wrappers, "" if there is none."""
    folders, base = _subfolders(tree), ""
    with_files = {folder_of(file) for file in tree.files}
    while True:
        inner = folders[base]
        if len(inner) != 1 or base in with_files or part_of(name_of(inner[0])):
            return base
        if inner[0] in with_files or not folders[inner[0]]:
            return base
        base = inner[0]


def _below(tree: Tree, base: str, root: Path) -> Tree:
    """The tree below one of its folders; what was skipped outside it keeps its full path."""
    start = len(base) + 1
    inside = f"{base}/"
    return Tree(
        files=[file[start:] for file in tree.files if file.startswith(inside)],
        folders=[folder[start:] for folder in tree.folders if folder.startswith(inside)],
        skipped=[
            Skipped(s.path[start:] if s.path.startswith(inside) else os.fspath(root / s.path), s.reason)
            for s in tree.skipped
        ],
        ignored=tree.ignored,
    )


def _subfolders(tree: Tree) -> dict[str, list[str]]:
    inner: dict[str, list[str]] = defaultdict(list)
    for folder in tree.folders:
        inner[folder_of(folder)].append(folder)
    return inner
