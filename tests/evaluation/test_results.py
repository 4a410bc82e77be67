"""The folder of results: every file is there, is what it says, and survives any name."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shoebox.base.recipe import Recipe
from shoebox.data.pack import Pack, Stream, pack
from shoebox.data.preprocess import Preprocess
from shoebox.data.sources import open_source
from shoebox.evaluation import style
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.results import augmentation_grid, evenly, write_pictures, write_results, write_tables

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "DPI", 40)


@pytest.fixture
def packed(tmp_path: Path, make_folder: Make) -> Pack | Stream:
    root = make_folder(tmp_path / "data", {"train/ants": 3, "train/bees": 3, "test/ants": 2, "test/bees": 2})
    return pack(open_source(root), Preprocess(store=8, size=8))


def scored(packed: Pack | Stream) -> Evaluation:
    index = packed.index.only("test")
    logits = np.array([[2, 0], [0, 1], [0, 3], [0, 1]], dtype=np.float32)
    return Evaluation(index.paths, index.labels, logits, index.classes, part="test")


def test_everything_is_written(packed: Pack | Stream, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text(Recipe(augment=("flip",)).to_yaml())
    pd.DataFrame({"epoch": [1], "train_loss": [1.25], "seconds": [65.0], "lr": [0.1]}).to_csv(run / "history.csv")
    figures = write_results(run / "results", run, scored(packed), packed)
    tables = {"epochs.md", "epochs.csv", "metrics.json", "report.csv", "report.txt", "predictions.csv"}
    assert {path.name for path in (run / "results").iterdir()} == tables | {path.name for path in figures}
    assert {"curves", "six_metrics", "learning_rate", "confusion_matrix", "wrong_grid", "augmentation_grid"} <= {
        path.stem for path in figures
    }
    assert json.loads((run / "results" / "metrics.json").read_text())["accuracy"] == 0.75
    report = pd.read_csv(run / "results" / "report.csv").set_index("class")
    assert report.loc["bees", "recall"] == 1
    assert report["support"].tolist() == [2, 2, 4, 4, 4]
    assert pd.read_csv(run / "results" / "epochs.csv")["time"].tolist() == ["1m05s"]


def test_without_a_run_or_an_evaluation(packed: Pack | Stream, tmp_path: Path) -> None:
    names = {path.stem for path in write_results(tmp_path / "new" / "results", None, None, packed)}
    assert names == {"class_distribution", "sample_grid"}


def test_what_is_drawn_before_training_is_not_drawn_again(packed: Pack | Stream, tmp_path: Path) -> None:
    before = write_pictures(tmp_path, packed)
    assert {path.stem for path in before} == {"class_distribution", "sample_grid"}
    for path in before:
        path.write_bytes(b"kept")
    assert write_results(tmp_path, None, None, packed, before=before) == before
    assert {path.read_bytes() for path in before} == {b"kept"}


def test_augmentations_of_no_training_pictures(packed: Pack | Stream, tmp_path: Path) -> None:
    index = packed.index.only("test")
    assert augmentation_grid(Recipe(augment=("flip",)), pack(index, packed.preprocess))


def test_awkward_names_and_numbers(tmp_path: Path) -> None:
    names = ("=cmd()|' /C calc'!A0", "odd\udcff", "<script>")
    paths = tuple(f"{name}.png" for name in names)
    evaluation = Evaluation(paths, np.array([-1, -1, -1]), np.eye(3, dtype=np.float32), names)
    write_tables(tmp_path, evaluation)
    assert set(json.loads((tmp_path / "metrics.json").read_text()).values()) == {None}
    shown = [f"'{names[0]}", r"odd\xff", "<script>"]
    with (tmp_path / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [f"{name}.png" for name in shown]
    assert [row["predicted"] for row in rows] == shown
    assert {row["correct"] for row in rows} == {""}
    with (tmp_path / "report.csv").open(encoding="utf-8", newline="") as file:
        assert [row["class"] for row in csv.DictReader(file)][:3] == shown


def test_evenly_takes_the_classes_in_turn() -> None:
    labels = np.array([0] * 50 + [1] * 3 + [2])
    assert sorted(labels[evenly(labels, 6)].tolist()) == [0, 0, 0, 1, 1, 2]
    assert len(evenly(labels, 100)) == 54
    assert len(evenly(labels[:0], 5)) == 0
