from collections.abc import Callable
from pathlib import Path

import pytest

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.data.index import ImageIndex
from shoebox.data.names import part_of
from shoebox.data.sources import open_source

Make = Callable[..., Path]


def parts(index: ImageIndex) -> dict[str, int]:
    return {part: int((index.part == part).sum()) for part in sorted(set(index.part.tolist()))}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *((n, "train") for n in ("train", "Training", "seg_train", "TRAIN", "training_set", "train2017", "x-train")),
        *((n, "val") for n in ("val", "valid", "validation", "dev", "Valid", "my val", "val_images")),
        *((n, "test") for n in ("test", "testing", "eval", "evaluation", "seg_test", "test-data")),
        *((n, "pile") for n in ("pred", "seg_pred", "unlabelled")),
        *((n, None) for n in ("trainer", "cat", "constrain", "retrain", "latest", "predator", "develop", "")),
    ],
)
def test_names_of_parts(name: str, part: str | None) -> None:
    assert part_of(name) == part


def test_folder_per_class(make_folder: Make, tmp_path: Path) -> None:
    index = open_source(make_folder(tmp_path, {"dog": 2, "cat": 3, "cat/kittens/tiny": 1}))
    assert index.classes == ("cat", "dog") and parts(index) == {"": 6}
    assert index.counts()["undecided"].to_dict() == {"cat": 4, "dog": 2}
    assert index.file(0).is_file()


def test_split_folders_with_aliases(make_folder: Make, tmp_path: Path) -> None:
    layout = {"Training/cat": 3, "Training/dog": 3, "dev/cat": 1, "dev/dog": 1, "eval/cat": 2, "eval/dog": 1}
    index = open_source(make_folder(tmp_path, layout))
    assert index.classes == ("cat", "dog") and parts(index) == {"test": 3, "train": 6, "val": 2}


def test_segmented_names_nested_once_with_a_pile(make_folder: Make, tmp_path: Path) -> None:
    layout = {
        "seg_train/seg_train/sea": 3,
        "seg_train/seg_train/forest": 3,
        "seg_test/seg_test/sea": 1,
        "seg_test/seg_test/forest": 1,
        "seg_pred/seg_pred": 4,
    }
    index = open_source(make_folder(tmp_path, layout))
    assert index.classes == ("forest", "sea") and parts(index) == {"pile": 4, "test": 2, "train": 6}
    assert (index.only("pile").labels == -1).all()


def test_wrappers_are_looked_through_and_a_lone_class_is_not(make_folder: Make, tmp_path: Path) -> None:
    wrapped = open_source(make_folder(tmp_path / "a", {"x/y/train/cat": 2, "x/y/train/dog": 2, "x/y/test/cat": 1}))
    plain = open_source(tmp_path / "a/x/y")
    assert wrapped.paths == plain.paths and wrapped.fingerprint() == plain.fingerprint()
    alone = open_source(make_folder(tmp_path / "b", {"cat": 2}))
    assert alone.classes == ("cat",)


def test_a_test_part_without_classes_is_a_pile(make_folder: Make, tmp_path: Path) -> None:
    index = open_source(make_folder(tmp_path, {"train/cat": 2, "train/dog": 2, "test": 3}))
    assert parts(index) == {"pile": 3, "train": 4}


def test_parts_without_any_class_folder_are_explained(make_folder: Make, tmp_path: Path) -> None:
    with pytest.raises(ShoeboxError, match="hold no folders: put the pictures of each class"):
        open_source(make_folder(tmp_path, {"train": 2, "test": 2}))


def test_a_class_may_be_named_train(make_folder: Make, tmp_path: Path) -> None:
    index = open_source(make_folder(tmp_path, {"train": 2, "bus": 2, "car": 2}))
    assert index.classes == ("bus", "car", "train")


def test_what_lies_beside_is_listed(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train/cat": 2, "train/dog": 2, "val/cat": 1, "extra/cat": 1, "train": 1, ".": 1})
    index = open_source(root)
    assert parts(index) == {"train": 4, "val": 1}
    assert {s.path for s in index.skipped} == {"extra", "train/0.png", "0.png"}


def test_a_flat_folder_is_a_pile(make_folder: Make, tmp_path: Path) -> None:
    index = open_source(make_folder(tmp_path, {".": 3}))
    assert parts(index) == {"pile": 3} and index.classes == ()
    with pytest.raises(ShoeboxError, match="0 classes"):
        index.require_classes(2)


def test_metadata_says_what_pictures_show(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train/images": 3, "test": 2})
    (root / "train/metadata.csv").write_text(
        "file_name,label\nimages/0.png,cat\nimages/1.png,dog\nimages/2.png,cat\nimages/9.png,cat\n"
    )
    (root / "test/metadata.jsonl").write_text(
        '{"file_name": "0.png", "label": "cat"}\n{"file_name": "1.png", "label": "dog"}\n'
    )
    index = open_source(root)
    assert index.classes == ("cat", "dog") and parts(index) == {"test": 2, "train": 3}
    assert [str(s) for s in index.skipped] == ["train/images/9.png: cannot be read (No such file or directory)"]


def test_metadata_without_classes_changes_nothing(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"cat": 1, "dog": 1})
    (root / "metadata.csv").write_text("file_name,licence\ncat/0.png,CC0\n")
    assert open_source(root).classes == ("cat", "dog")


def test_odd_extensions_are_told_by_their_bytes(make_folder: Make, tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"cat": 2, "dog": 2})
    (root / "cat/0.png").rename(root / "cat/0.dat")
    (root / "cat/1.png").rename(root / "cat/noextension")
    (root / "dog/notes.txt").write_text("mine")
    (root / "dog/film.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    index = open_source(root)
    assert len(index) == 4 and index.ignored == 1
    assert [str(s) for s in index.skipped] == ["dog/film.mp4: not a picture Shoebox opens: it holds a video"]


@pytest.mark.parametrize("name", ["nothing", "no/where", "a\0b", "x" * 5000, ""])
def test_a_wrong_path_is_wrong_use(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UsageError, ShoeboxError)) as caught:
        open_source(name) if name else open_source(tmp_path / "none")
    assert isinstance(caught.value, UsageError) and "\n" not in str(caught.value)


def test_an_empty_folder_and_one_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(ShoeboxError, match="no pictures found"):
        open_source(tmp_path)
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/film.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    with pytest.raises(ShoeboxError, match=r"1 were skipped, the first is cat/film\.mp4"):
        open_source(tmp_path)


def test_a_path_wins_over_a_data_set_of_its_name(
    make_folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(tmp_path / "digits", {"cat": 1, "dog": 1})
    monkeypatch.chdir(tmp_path)
    assert open_source("digits").classes == ("cat", "dog")
