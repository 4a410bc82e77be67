from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.data.index import ImageIndex
from shoebox.data.sources import open_source
from shoebox.data.split import read_split, split, write_split


def index_of(*counts: int, part: str = "", root: str = "/data", prefix: str = "") -> ImageIndex:
    classes = tuple(f"c{i:05d}" for i in range(len(counts)))
    paths = tuple(f"{prefix}{c}/{i}.png" for c, n in zip(classes, counts, strict=True) for i in range(n))
    labels = np.repeat(np.arange(len(counts)), counts)
    return ImageIndex(Path(root), paths, labels, classes, np.full(len(paths), part, dtype="<U5"))


def sizes(index: ImageIndex) -> dict[str, int]:
    return {str(p): int((index.part == p).sum()) for p in ("train", "val", "test")}


def test_default_is_eighty_ten_ten_in_every_class() -> None:
    result = split(index_of(100, 50, 200))
    for label, count in enumerate((100, 50, 200)):
        mine = result.take(result.labels == label)
        assert sizes(mine) == {"train": count * 8 // 10, "val": count // 10, "test": count // 10}
    assert not result.warnings


def test_of_a_large_set_validation_takes_no_more_than_it_needs() -> None:
    assert sizes(split(index_of(20_000, 20_000))) == {"train": 33_500, "val": 2_500, "test": 4_000}
    assert sizes(split(index_of(*[1000] * 60)))["val"] == 3_000
    assert sizes(split(index_of(20_000, 20_000), validation=0.1))["val"] == 4_000


def test_the_same_seed_repeats_and_another_does_not() -> None:
    index = index_of(100, 100)
    assert split(index, seed=1).part.tolist() == split(index, seed=1).part.tolist()
    assert split(index, seed=1).part.tolist() != split(index, seed=2).part.tolist()


def test_neither_file_order_nor_place_matters() -> None:
    index = index_of(30, 40)
    expected = dict(zip(index.paths, split(index).part.tolist(), strict=True))
    shuffled = index.take(np.random.default_rng(0).permutation(len(index)))
    assert dict(zip(shuffled.paths, split(shuffled).part.tolist(), strict=True)) == expected
    assert split(index_of(30, 40, root="/elsewhere")).part.tolist() == split(index).part.tolist()
    here, there = index_of(30, 40, prefix="/mnt/here/"), index_of(30, 40, prefix="/home/me/there/")
    assert split(here).part.tolist() == split(there).part.tolist()


def test_only_what_is_missing_is_filled() -> None:
    index = index_of(40, 40)
    test = index.with_part(np.where(np.arange(80) % 4 == 0, "test", "train"))
    assert sizes(split(test)) == {"train": 54, "val": 6, "test": 20}
    assert sizes(split(test, validation=0)) == {"train": 60, "val": 0, "test": 20}
    assert (split(test).part[test.part == "test"] == "test").all()
    val = index.with_part(np.where(np.arange(80) % 4 == 0, "val", "train"))
    assert split(val).part.tolist() == val.part.tolist()
    assert sizes(split(index_of(40, 40, part="train"))) == {"train": 64, "val": 8, "test": 8}
    assert sizes(split(index, validation=0, test=0)) == {"train": 80, "val": 0, "test": 0}


def test_pictures_without_a_label_are_the_pile() -> None:
    index = index_of(20)
    labels = index.labels.copy()
    labels[3] = -1
    unlabelled = ImageIndex(index.root, index.paths, labels, index.classes, index.part)
    assert split(unlabelled).part[3] == "pile"


@pytest.mark.parametrize(("count", "expected"), [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (5, (3, 1, 1))])
def test_small_classes(count: int, expected: tuple[int, ...]) -> None:
    result = split(index_of(count, 100))
    assert tuple(sizes(result.take(result.labels == 0)).values()) == expected


@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    validation=st.floats(0, 0.5),
    test=st.floats(0, 0.49),
    seed=st.integers(0, 5),
)
@settings(deadline=None)
def test_every_class_keeps_a_picture_to_learn_from(
    counts: list[int], validation: float, test: float, seed: int
) -> None:
    index = index_of(*counts)
    result = split(index, validation=validation, test=test, seed=seed)
    assert set(result.part.tolist()) <= {"train", "val", "test"}
    for label, count in enumerate(counts):
        mine = sizes(result.take(result.labels == label))
        assert sum(mine.values()) == count
        assert mine["train"] >= min(count, 1)
        assert (mine["val"] == 0) == (validation == 0 or count < 2)


@given(data=st.data(), seed=st.integers(0, 3))
@settings(deadline=None)
def test_a_group_stays_on_one_side(data: st.DataObject, seed: int) -> None:
    index = index_of(20, 30)
    groups = np.array(data.draw(st.lists(st.integers(0, 25), min_size=50, max_size=50)))
    result = split(index, groups=groups, seed=seed)
    for group in np.unique(groups):
        assert len(set(result.part[groups == group].tolist())) == 1
    for label in (0, 1):
        assert sizes(result.take(result.labels == label))["train"] >= 1


def test_groups_of_one_change_nothing() -> None:
    index = index_of(30, 30)
    assert split(index, groups=np.arange(60)).part.tolist() == split(index).part.tolist()


@pytest.mark.parametrize("shares", [{"validation": -0.1}, {"test": 1.0}, {"validation": 0.5, "test": 0.5}])
def test_impossible_shares_are_refused(shares: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"validation|test"):
        split(index_of(10), **shares)


def test_written_and_read_again(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder(tmp_path / "data", {"=cat": 6, "-dog": 5, "'x": 3})
    index = open_source(root)
    result = split(index, seed=3)
    write_split(result, tmp_path / "split.csv")
    shuffled = index.take(np.random.default_rng(0).permutation(len(index)))
    again = read_split(shuffled, tmp_path / "split.csv")
    assert dict(zip(again.paths, again.part.tolist(), strict=True)) == dict(
        zip(result.paths, result.part.tolist(), strict=True)
    )


def test_data_that_changed_since_are_refused_with_the_difference(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    root = make_folder(tmp_path / "data", {"cat": 6, "dog": 5})
    path = tmp_path / "split.csv"
    write_split(split(open_source(root)), path)
    (root / "cat/0.png").rename(root / "cat/9.png")
    with pytest.raises(ShoeboxError, match=r"1 pictures are gone, the first is cat/0\.png"):
        read_split(open_source(root), path)
    (root / "cat/9.png").rename(root / "cat/0.png")
    (root / "cat/8.png").write_bytes((root / "cat/0.png").read_bytes())
    with pytest.raises(ShoeboxError, match=r"are new, the first is cat/8\.png"):
        read_split(open_source(root), path)
    path.write_text("path,label\n")
    with pytest.raises(ShoeboxError, match="not a split"):
        read_split(open_source(root), path)
