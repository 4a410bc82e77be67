"""Which folders a server may work on."""

import pytest

from shoebox.base.errors import UsageError
from shoebox.page.folders import folders


def test_without_a_folder_there_is_none(tmp_path):
    assert folders(None) == ()
    with pytest.raises(UsageError, match="nowhere"):
        folders(tmp_path / "nowhere")


def test_a_folder_of_classes_is_one_set(tmp_path, make_folder):
    make_folder(tmp_path / "pets", {"cat": 1, "dog": 1})
    (found,) = folders(tmp_path / "pets")
    assert found.root == tmp_path / "pets" and found.name == "pets" and found.number == 0


def test_parts_are_not_sets_of_their_own(tmp_path, make_folder):
    make_folder(tmp_path, {"train/cat": 1, "train/dog": 1, "test/cat": 1, "test/dog": 1})
    assert [one.root for one in folders(tmp_path)] == [tmp_path]


def test_a_folder_of_sets_is_each_of_them(tmp_path, make_folder):
    make_folder(tmp_path, {"pets/cat": 1, "pets/dog": 1, "birds/owl": 1, "birds/tit": 1, ".cache/a": 1, ".cache/b": 1})
    assert [one.root for one in folders(tmp_path)] == [tmp_path / "birds", tmp_path / "pets", tmp_path]


def test_a_link_out_is_not_followed(tmp_path, make_folder):
    make_folder(tmp_path / "elsewhere", {"cat": 1, "dog": 1})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert [one.root for one in folders(tmp_path / "data")] == [tmp_path / "data"]


def test_what_was_found_and_decided_is_counted(work):
    (found,) = folders(work)
    assert found.about() == {"number": 0, "name": "work", "page": False, "suspects": 3, "decided": 0}
    (work / "labels.csv").write_text("path,label,why\ndog/0.jpg,dog,\nother.jpg,dog,\n")
    assert found.about()["decided"] == 1
    found.table.write_text("something else\n1\n")
    assert found.about()["suspects"] is None
