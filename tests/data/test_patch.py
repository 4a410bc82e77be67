"""The patch: what is written is read again, whatever names hold; the index is as it says; no file is touched."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.data.patch import Correction, is_patch, patched, read_patch, require_own, write_patch
from shoebox.data.sources import open_source

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
PATHS = TEXT.map(lambda t: t.replace("/", "_")).filter(lambda t: t not in (".", "..")).map(lambda t: f"a/{t}")
ODD = st.sampled_from(
    ["=x/1.jpg", "-rf/a.jpg", "@/b.jpg", "bad\udcff/1.jpg", "new\nline/1.jpg", 'quo"te/,1.jpg', "\ta.jpg"]
)
LABELS = st.none() | TEXT | st.sampled_from(["=1+1", "'quoted", "-x", "@at", "bad\udcff", " space "])


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(PATHS | ODD, LABELS, min_size=1, max_size=6))
def test_what_is_written_is_read_again(tmp_path, said):
    path = tmp_path / "labels.csv"
    patch = {name: Correction(label, "why") for name, label in said.items()}
    write_patch(path, patch)
    assert is_patch(path)
    assert read_patch(path) == patch
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line]
    assert not any(cell.startswith(("=", "-", "@", "+", "\t", "\r")) for cell in cells)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200))
def test_any_file_is_read_or_refused(tmp_path, content):
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    is_patch(path)
    try:
        read_patch(path)
    except ShoeboxError as e:
        assert "labels.csv" in str(e)


def test_the_last_line_counts_and_an_empty_patch_is_no_file(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("path,label,why\na/1.png,dog,\n./a/1.png,,gone\n")
    assert read_patch(path) == {"a/1.png": Correction(None, "gone")}
    write_patch(path, {})
    assert not path.exists()
    assert read_patch(path) == {}


def test_every_source_reads_it_and_no_picture_is_touched(make_folder, tmp_path):
    root = make_folder(tmp_path / "pictures", {"cat": 4, "dog": 4})
    before = {p: p.read_bytes() for p in root.rglob("*.png")}
    write_patch(
        root / "labels.csv",
        {"cat/0.png": Correction("dog"), "dog/3.png": Correction(None, "blank"), "gone.png": Correction("cat")},
    )
    index = open_source(root)
    assert len(index) == 7
    assert index.classes == ("cat", "dog")
    assert np.bincount(index.labels).tolist() == [3, 4]
    assert [s.path for s in index.skipped] == ["dog/3.png"]
    assert "blank" in index.skipped[0].reason
    assert any("1 labels changed, 1 pictures left out" in w for w in index.warnings)
    assert any("1 files that are not among the pictures" in w for w in index.warnings)
    assert {p: p.read_bytes() for p in root.rglob("*.png")} == before

    other = tmp_path / "other.csv"
    write_patch(other, {"cat/1.png": Correction("dog")})
    assert np.bincount(open_source(root, labels_file=other).labels).tolist() == [3, 5]
    with pytest.raises(UsageError, match="no such file"):
        open_source(root, labels_file=tmp_path / "none.csv")


def test_a_table_of_pictures_takes_a_patch_too(make_picture, tmp_path):
    for i in range(3):
        make_picture(tmp_path / f"{i}.png", seed=i)
    (tmp_path / "list.csv").write_text("path,label\n0.png,a\n1.png,b\n2.png,b\n")
    write_patch(tmp_path / "labels.csv", {"2.png": Correction("a")})
    assert open_source(tmp_path / "list.csv").labels.tolist() == [0, 1, 0]


def test_another_programs_labels_are_left_alone(make_folder, tmp_path):
    root = make_folder(tmp_path / "pictures", {"cat": 2, "dog": 2})
    theirs = root / "labels.csv"
    theirs.write_text("file,class\ncat/0.png,dog\n")
    assert np.bincount(open_source(root).labels).tolist() == [2, 2]
    with pytest.raises(UsageError, match=r"not Shoebox's"):
        require_own(theirs)


def test_a_class_that_does_not_exist_is_named(make_folder, tmp_path):
    root = make_folder(tmp_path / "pictures", {"cat": 2, "dog": 2})
    write_patch(root / "labels.csv", {"cat/0.png": Correction("cow")})
    with pytest.raises(UsageError, match=r"the class 'cow', which is none of 'cat', 'dog'"):
        open_source(root)


def test_a_label_takes_a_picture_off_the_pile(make_folder, tmp_path):
    root = make_folder(tmp_path / "pictures", {"train/cat": 2, "train/dog": 2, "unlabelled": 2})
    write_patch(root / "labels.csv", {"unlabelled/0.png": Correction("cat")})
    index = open_source(root)
    row = index.paths.index("unlabelled/0.png")
    assert index.labels[row] == 0
    assert index.part[row] == ""
    assert isinstance(patched(index, Path("nowhere")).root, Path)
