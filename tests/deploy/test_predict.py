"""Which files are found, and that the three kinds of file hold what the rows say, whatever the files are called."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.classifier import Classifier
from shoebox.deploy.backends import answers
from shoebox.deploy.predict import find_files, predict_files, predict_rows, predict_text, read_list

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


def test_an_export_gives_the_rows_of_the_classifier(exported, trained):
    run, data = trained
    ours = list(predict_rows(exported, [str(data)]))
    theirs = list(Classifier.load(run, "cpu").predictions(find_files([str(data)])))
    assert [(row["path"], row["label"]) for row in ours] == [(row["path"], row["label"]) for row in theirs]
    np.testing.assert_allclose([r["confidence"] for r in ours], [r["confidence"] for r in theirs], atol=1e-5)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_an_interrupted_table_is_continued(exported, trained, tmp_path, suffix, monkeypatch):
    data, out = trained[1], tmp_path / f"table{suffix}"
    whole = tmp_path / f"whole{suffix}"
    predict_files(exported, [str(data)], out=whole)

    class Stop:
        def say(self, text):
            pass

        def track(self, rows, *_):
            for number, row in enumerate(rows):
                if number == 40:
                    raise KeyboardInterrupt
                yield row

    with pytest.raises(KeyboardInterrupt):
        predict_files(exported, [str(data)], out=out, progress=Stop())
    assert not out.exists()
    (partial,) = tmp_path.glob(".table*")
    with partial.open("ab") as file:
        file.write(b'{"path": "half a li')
    asked = []
    monkeypatch.setattr(
        "shoebox.deploy.predict.answers", lambda b, files, s: asked.extend(files) or answers(b, files, s)
    )
    result = predict_files(exported, [str(data)], out=out)
    assert (result["pictures"], len(asked)) == (90, 50)
    assert out.read_bytes() == whole.read_bytes() or suffix == ".parquet"
    if suffix == ".parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(whole))
    assert not list(tmp_path.glob(".*"))


def test_another_top_does_not_continue_a_table(exported, trained, tmp_path):
    out = tmp_path / "table.csv"
    (tmp_path / ".table.csv.0123.part").write_text("not for this call")
    predict_files(exported, [str(trained[1])], 1, out=out)
    assert list(pd.read_csv(out).columns) == ["path", "label", "confidence", "status"]


def test_a_list_may_be_divided_by_lines_or_by_zero_bytes():
    assert read_list(io.BytesIO(b"a.jpg\nb c.jpg\n")) == ["a.jpg", "b c.jpg"]
    assert read_list(io.BytesIO(b"a\nb.jpg\0\xff.jpg\0")) == ["a\nb.jpg", os.fsdecode(b"\xff.jpg")]
