"""Which files are found, and that the three kinds of file hold what the rows say, whatever the files are called."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.deploy.predict import find_files, predict_files, predict_rows, predict_text

Make = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path, make_picture: Make) -> Path:
    for name in ("b.png", "a.png", "deep/er/c.jpg"):
        make_picture(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    (tmp_path / "in" / ".hidden.png").write_text("hidden")
    return tmp_path / "in"


def names(found: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in found]


def test_folders_are_searched(folder: Path) -> None:
    assert names(find_files([str(folder)]), folder) == ["a.png", "b.png", "deep/er/c.jpg"]


def test_globs(folder: Path) -> None:
    assert names(find_files([str(folder / "*.png")]), folder) == ["a.png", "b.png"]
    assert names(find_files([str(folder / "**" / "*.jpg")]), folder) == ["deep/er/c.jpg"]


def test_a_name_that_looks_like_a_pattern_is_the_file(folder: Path, make_picture: Make) -> None:
    made = make_picture(folder / "[1].png")
    assert find_files([str(made)]) == [made]


def test_each_file_once_in_the_order_asked(folder: Path) -> None:
    places = [str(folder / "b.png"), str(folder), str(folder / "*.png")]
    assert names(find_files(places), folder) == ["b.png", "a.png", "deep/er/c.jpg"]


def test_what_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    for place in (tmp_path / "gone.jpg", tmp_path / "*.xyz"):
        with pytest.raises(UsageError, match=r"gone\.jpg|\*\.xyz"):
            find_files([str(folder), str(place)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ShoeboxError, match="no pictures in"):
        find_files([str(tmp_path / "empty")])


def read(path: Path) -> pd.DataFrame:
    if path.suffix == ".csv":
        return pd.read_csv(path)
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_json(path, lines=True)


def test_the_kinds_of_file_agree(saved: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    answer = predict_files(saved, [str(folder)])
    assert (answer["pictures"], answer["failed"]) == (4, 1)
    wanted = pd.DataFrame(answer["predictions"]).set_index("path")
    for suffix in (".csv", ".jsonl", ".parquet"):
        out = tmp_path / f"out{suffix}"
        assert predict_files(saved, [str(folder)], out=out) == {"pictures": 4, "failed": 1, "out": str(out)}
        found = read(out).set_index("path")
        assert set(found) == set(wanted)
        unquoted = found.replace({"'=cat": "=cat"}) if suffix == ".csv" else found
        pd.testing.assert_frame_equal(unquoted[list(wanted)], wanted, check_dtype=False, rtol=1e-9)


def test_unreadable_files_get_rows(saved: Path, folder: Path) -> None:
    (folder / "a.png").write_bytes(b"")
    rows = list(predict_rows(saved, [str(folder)], top=1))
    assert [row["status"] == "ok" for row in rows] == [False, True, True]
    assert "label" not in rows[0]
    assert set(rows[1]) == {"path", "label", "confidence", "status"}


def test_nothing_readable_is_an_error_and_writes_nothing(saved: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"<html>")
    said: list[str] = []
    with pytest.raises(ShoeboxError, match="not one"):
        predict_text(saved, [str(bad)], write=said.append)
    assert len(said) == 1 and "not read" in said[0]
    with pytest.raises(ShoeboxError, match="not one"):
        predict_files(saved, [str(bad)], out=tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("out", ["out.xlsx", "out", "gone/out.csv"])
def test_a_file_that_cannot_be_written_is_said_before_any_work(folder: Path, tmp_path: Path, out: str) -> None:
    with pytest.raises(UsageError, match="expected a file ending in"):
        predict_files(tmp_path / "no classifier", [str(folder)], out=tmp_path / out)


def test_awkward_names(saved: Path, tmp_path: Path, make_picture: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    odd = os.fsdecode(b"odd\xff.png")
    for name in ("=cmd().png", "<script>alert(1)</script>.png", "new\nline.png", odd):
        make_picture(tmp_path / "pictures" / name.replace("/", "∕"))
    (tmp_path / "pictures" / "=cmd().png").rename("=cmd().png")
    for suffix in (".csv", ".jsonl", ".parquet"):
        predict_files(saved, ["=cmd().png", "pictures"], out=Path(f"out{suffix}"))
        found = read(Path(f"out{suffix}"))["path"].tolist()
        assert found[0] == ("'=cmd().png" if suffix == ".csv" else "=cmd().png")
        assert found[1] == "pictures/<script>alert(1)<∕script>.png"
        assert found[2:] == ["pictures/new\nline.png", r"pictures/odd\xff.png"]


def test_lines_for_people_stay_one_line_each(saved: Path, tmp_path: Path, make_picture: Make) -> None:
    make_picture(tmp_path / "new\nline\x1b[2J.png")
    said: list[str] = []
    predict_text(saved, [str(tmp_path)], write=said.append)
    assert len(said) == 1
    assert "\n" not in said[0] and "\x1b" not in said[0]


def test_rows_are_json(saved: Path, folder: Path) -> None:
    assert json.loads(json.dumps(predict_files(saved, [str(folder)], top=9)))["predictions"][0]["label_3"]
