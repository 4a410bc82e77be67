import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.data.index import GONE, ImageIndex, listed, located


def make(root: Path = Path(), **changes: object) -> ImageIndex:
    values = {
        "root": root,
        "paths": ("a/1.png", "a/2.png", "b/3.png", "4.png"),
        "labels": np.array([0, 0, 1, -1]),
        "classes": ("a", "b", "c"),
        "part": np.array(["train", "val", "", "pile"]),
    }
    return ImageIndex(**(values | changes))  # type: ignore[arg-type]


def test_selections_keep_classes_and_order() -> None:
    index = make()
    assert index.only("val", "train").paths == ("a/1.png", "a/2.png")
    assert index.take([2, 0]).labels.tolist() == [1, 0]
    assert index.take(np.array([False, True, False, True])).part.tolist() == ["val", "pile"]
    assert len(index.take([])) == 0 and index.take([]).classes == index.classes
    with pytest.raises(UsageError, match="tset"):
        index.only("tset")


def test_counts_have_a_row_per_class_even_without_pictures() -> None:
    table = make().counts()
    assert list(table.index) == ["a", "b", "c", ""]
    assert table.loc["a"].to_dict() == {"undecided": 0, "train": 1, "val": 1, "pile": 0}
    assert table.loc["c"].sum() == 0 and table.loc["", "pile"] == 1
    assert list(make().take([]).counts().index) == ["a", "b", "c"]


def test_relabelling_matches_by_name() -> None:
    assert make().relabelled_to(["z", "b", "a"]).labels.tolist() == [2, 2, 1, -1]
    with pytest.raises(UsageError, match="'b'"):
        make().relabelled_to(["a", "c"])


def test_enough_classes_are_those_with_pictures() -> None:
    make().require_classes(2)
    with pytest.raises(ShoeboxError, match=r"2 classes \('a', 'b'\): at least 3"):
        make().require_classes(3)


def test_inconsistent_indexes_cannot_be_made() -> None:
    for changes in ({"labels": np.array([0])}, {"labels": np.array([0, 0, 3, 0])}, {"classes": ("a", "a", "b")}):
        with pytest.raises(ValueError, match=r"labels|twice"):
            make(**changes)


def test_fingerprint_follows_files_labels_and_parts_but_not_the_place(tmp_path: Path) -> None:
    prints = set()
    for place in ("one", "two"):
        for name in make().paths:
            path = tmp_path / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
            os.utime(path, (1, 1))
        prints.add(make(tmp_path / place).fingerprint())
    assert len(prints) == 1
    index = make(tmp_path / "one")
    assert index.take([3, 1, 0, 2]).fingerprint() in prints
    variants = [
        index.take([0, 1, 2]),
        index.with_part(np.array(["train"] * 4)),
        make(index.root, labels=np.array([0, 0, 1, 1])),
        make(index.root, classes=("a", "b", "d")),
    ]
    prints |= {variant.fingerprint() for variant in variants}
    (index.root / "4.png").write_bytes(b"xy")
    prints.add(index.fingerprint())
    os.utime(index.root / "a/1.png", ns=(1, 2))
    prints.add(index.fingerprint())
    (index.root / "b/3.png").unlink()
    prints.add(index.fingerprint())
    assert len(prints) == 8


def test_stamps_are_asked_for_once_and_go_with_their_rows(tmp_path: Path) -> None:
    for name in make().paths[:3]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        os.utime(path, ns=(0, 7))
    index = make(tmp_path)
    stamped = index.stamped()
    assert index.stamps is None
    assert stamped.stamps is not None
    assert stamped.stamps[:, :2].tolist() == [[7, 7]] * 3 + [[GONE, GONE]]
    assert stamped.fingerprint() == index.fingerprint()
    (tmp_path / "a/1.png").write_bytes(b"another")
    assert stamped.fingerprint() != index.fingerprint()
    assert stamped.known_stamps() is stamped.stamps
    assert stamped.stamped().fingerprint() == index.fingerprint()
    some = stamped.take([3, 1]).with_part(np.array(["val", "val"]))
    assert np.array_equal(some.known_stamps(), stamped.stamps[[3, 1]])
    with pytest.raises(ValueError, match="stamps"):
        replace(index, stamps=stamped.stamps[:2])


def test_a_file_from_the_far_future_has_a_stamp(tmp_path: Path) -> None:
    index = make(tmp_path).take([3])
    (tmp_path / "4.png").write_bytes(b"x")
    os.utime(tmp_path / "4.png", (1.2e10, 1.2e10))
    kept = (tmp_path / "4.png").stat().st_mtime_ns  # a file system may have an end of time of its own
    assert index.known_stamps()[0, 1] == min(kept, 2**63 - 1) > 0
    assert len(index.fingerprint()) == 32


def test_files_lie_under_the_root_or_where_an_absolute_path_says(tmp_path: Path) -> None:
    assert located(tmp_path, ["a/b.png", "/c/d.png"]) == [str(tmp_path / "a/b.png"), "/c/d.png"]


def test_listed_is_short_and_on_one_line() -> None:
    assert listed(["a\n", "b"]) == "'a\\n', 'b'"
    assert listed([str(i) for i in range(1005)]).endswith("'4' and 1,000 more")
