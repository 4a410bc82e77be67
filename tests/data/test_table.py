import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoebox.base.errors import ShoeboxError
from shoebox.data.sources import open_source

Make = Callable[..., Path]

ROWS = [
    {"path": "in/0.png", "label": "cat", "split": "training"},
    {"path": "in/1.png", "label": "dog", "split": "train"},
    {"path": "in/2.png", "label": "cat", "split": "dev"},
    {"path": "./in/3.png", "label": "", "split": ""},
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        import pandas as pd

        pd.DataFrame(rows).to_parquet(path)
    else:
        mark = "\t" if path.suffix == ".tsv" else ";" if "semicolon" in path.name else ","
        lines = [mark.join(row.keys()) for row in rows[:1]] + [mark.join(map(str, row.values())) for row in rows]
        path.write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "semicolon.csv", "t.jsonl", "t.parquet"])
def test_every_kind_of_table(make_folder: Make, tmp_path: Path, name: str) -> None:
    make_folder(tmp_path, {"in": 4})
    index = open_source(write(tmp_path / name, ROWS))
    assert index.paths == ("in/0.png", "in/1.png", "in/2.png", "in/3.png")
    assert index.part.tolist() == ["train", "train", "val", "pile"]
    assert index.classes == ("cat", "dog") and index.labels.tolist() == [0, 1, 0, -1]


@pytest.mark.parametrize("columns", [("file_name", "class"), ("Filename", "CATEGORY"), ("image", "Species")])
def test_columns_go_by_many_names(make_folder: Make, tmp_path: Path, columns: tuple[str, str]) -> None:
    make_folder(tmp_path, {"in": 2})
    path, label = columns
    table = write(tmp_path / "t.csv", [{"x": 1, path: f"in/{i}.png", label: i + 1} for i in range(2)])
    assert open_source(table).classes == ("1", "2")


def test_bad_lines_are_listed_and_the_rest_is_read(make_folder: Make, tmp_path: Path) -> None:
    make_folder(tmp_path, {"in": 4})
    lines = [
        '{"path": "in/0.png", "label": "cat"}',
        "not json",
        '["a list"]',
        '{"path": "in/9.png", "label": "cat"}',
        '{"path": "in/0.png", "label": "dog"}',
        '{"path": "in", "label": "dog"}',
        '{"path": "a\\u0000b", "label": "dog"}',
        '{"path": "\\ud800", "label": "dog"}',
        '{"path": "in/1.png", "label": ["dog"]}',
        '{"path": "in/2.png", "label": "dog", "part": "middle"}',
        '{"path": "in/3.png", "label": 3.0}',
        "[" * 100_000,
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    index = open_source(tmp_path / "t.jsonl")
    assert index.paths == ("in/0.png", "in/3.png") and index.classes == ("3", "cat")
    assert [s.reason for s in index.skipped] == [
        "the line names no picture",
        "the line names no picture",
        "cannot be read (No such file or directory)",
        "listed twice, as 'cat' and as 'dog'",
        "not a regular file",
        "the name is not one a file can have",
        "the name is not one a file can have",
        "its class is neither text nor a number",
        "its part is 'middle': expected train, val, test or pile",
        "the line names no picture",
    ]


def test_absolute_paths_and_paths_beside_the_table(make_folder: Make, tmp_path: Path) -> None:
    make_folder(tmp_path / "pictures", {"in": 2})
    (tmp_path / "tables").mkdir()
    rows = [
        {"path": "../pictures/in/0.png", "label": "a"},
        {"path": str(tmp_path / "pictures/in/1.png"), "label": "b"},
    ]
    index = open_source(write(tmp_path / "tables/t.csv", rows))
    assert [index.file(i).read_bytes()[:4] for i in range(2)] == [b"\x89PNG"] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\na,b\n", "no column for the path .* its columns are 'name', 'label'"),
        ("path,kind\na,b\n", "no column for the class"),
        ("", "its columns are none"),
        ("path,label\na.png,b\n", r"no pictures found; 1 were skipped, the first is a\.png"),
        ("path,label\n" + "x" * 200_000 + ",b\n", "cannot be read"),
    ],
)
def test_useless_tables_are_explained(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ShoeboxError, match=message):
        open_source(tmp_path / "t.csv")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@given(data=st.binary(max_size=300))
@settings(deadline=None, max_examples=50)
def test_any_bytes_give_an_index_or_one_clear_line(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(data)
    with pytest.raises(ShoeboxError) as caught:
        open_source(path)
    assert "\n" not in str(caught.value)
