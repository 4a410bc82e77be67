"""Rows come back from the three kinds of file; no cell is run by a spreadsheet, no name breaks a file."""

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoebox.base.tables import harmless, plain, speakable, write_rows, writer

ROWS: list[dict[str, Any]] = [
    {"path": "a.jpg", "confidence": 0.125, "status": "ok"},
    {"path": "b.jpg", "status": "cut short"},
]
COLUMNS = ("path", "confidence", "status")


def read(path: Path) -> pd.DataFrame:
    if path.suffix == ".csv":
        return pd.read_csv(path)
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_json(path, lines=True)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".CSV"])
def test_rows_come_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    write_rows(path, ROWS, COLUMNS, ["confidence"])
    found = read(path.rename(path.with_suffix(suffix.lower())))
    assert found["path"].tolist() == ["a.jpg", "b.jpg"]
    assert found["confidence"][0] == 0.125
    assert pd.isna(found["confidence"][1])
    assert found["status"].tolist() == ["ok", "cut short"]


def test_more_rows_than_a_group_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "many.parquet"
    write_rows(path, [{"path": str(i), "confidence": i / 2} for i in range(20_001)], COLUMNS, ["confidence"])
    assert read(path)["confidence"].tolist() == [i / 2 for i in range(20_001)]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    for suffix in (".csv", ".jsonl", ".parquet"):
        path = tmp_path / f"rows{suffix}"
        path.write_bytes(b"before")
        with pytest.raises(KeyError), writer(path, COLUMNS) as write:
            write(ROWS[0])
            raise KeyError
        assert path.read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("name", ["=cmd()|' /C calc'!A0", "+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(tmp_path: Path, name: str) -> None:
    path = tmp_path / "rows.csv"
    write_rows(path, [{"path": name, name: name}], ["path", name])
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [["path", f"'{name}"], [f"'{name}", f"'{name}"]]


def test_numbers_stay_numbers() -> None:
    assert harmless(-0.5) == -0.5
    assert harmless(float("nan")) is None
    assert plain({"a": [float("inf"), -1, "x"], 1: (None, True)}) == {"a": [None, -1, "x"], "1": [None, True]}


@given(st.text(st.characters(codec=None)))
def test_any_text_can_be_written(text: str) -> None:
    speakable(text).encode()
    assert json.loads(json.dumps(plain({text: text})))


def test_odd_bytes_are_escapes() -> None:
    assert speakable("caf\udce9.jpg") == r"caf\xe9.jpg"
    assert speakable("çafé 猫.jpg") == "çafé 猫.jpg"
