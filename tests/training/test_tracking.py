import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from shoebox.base.errors import MissingExtra, UsageError
from shoebox.base.recipe import Recipe
from shoebox.training import tracking
from shoebox.training.tracking import TRACKERS, open_trackers
from shoebox.training.train import train

ROWS = [
    {"epoch": n, "train_loss": 1 / n, "val_accuracy": n / 10, "lr": 0.1, "val_roc_auc": float("nan")} for n in (1, 2)
]
RESULT = {"test": {"accuracy": 0.9}, "val": None}


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "confusion_matrix.png"
    Image.fromarray(np.zeros((9, 7, 3), np.uint8)).save(path)
    return path


def report(recipe: Recipe, folder: Path, picture: Path) -> None:
    folder.mkdir(exist_ok=True)
    with open_trackers(recipe, folder) as trackers:
        for row in ROWS:
            trackers.epoch(row)
        trackers.end(RESULT, [picture])


def read(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def test_tensorboard_shows_every_epoch_and_the_pictures(tmp_path, picture):
    report(Recipe(), tmp_path / "run", picture)
    events = read(tmp_path / "run" / "tensorboard")
    assert [(e.step, e.value) for e in events.Scalars("loss/train")] == [(1, 1.0), (2, 0.5)]
    assert [e.step for e in events.Scalars("accuracy/val")] == [1, 2]
    assert events.Scalars("finished/test_accuracy")[0].value == pytest.approx(0.9)
    assert events.Tags()["images"] == ["confusion_matrix"]
    assert events.Tags()["tensors"] == ["recipe/text_summary"]


def test_training_writes_event_files_unless_switched_off(tmp_path, make_folder, small, monkeypatch):
    monkeypatch.setattr("shoebox.training.train.write_results", lambda *a, **k: [])
    data = make_folder(tmp_path / "data", {"a": 20, "b": 20})
    rows = []
    done = train(data, small, run=tmp_path / "with", tensorboard=True, epochs=2, on_epoch=rows.append)
    events = read(done.folder / "tensorboard")
    assert [e.value for e in events.Scalars("loss/train")] == pytest.approx([r["train_loss"] for r in rows])
    assert not (train(data, small, run=tmp_path / "without", epochs=1).folder / "tensorboard").exists()


def test_where_tensorboard_is_not_installed_nothing_is_written_and_asking_for_it_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "_installed", lambda library: False)
    with open_trackers(Recipe(), tmp_path) as trackers:
        assert trackers.opened == []
    for name in TRACKERS:
        with (
            pytest.raises(MissingExtra, match=rf"shoebox-classifier\[{name}\]"),
            open_trackers(Recipe(tracking=name), tmp_path),
        ):
            pass
    with pytest.raises(UsageError, match="no tracker is called"), open_trackers(Recipe(tracking=["mlfow"]), tmp_path):
        pass


def test_a_refused_run_leaves_nothing(tmp_path):
    with open_trackers(Recipe(), tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()


def test_mlflow_goes_on_in_the_same_run(tmp_path, picture, monkeypatch):
    said = []
    fake = ModuleType("mlflow")
    for name in ("log_metrics", "log_params", "log_artifact", "end_run"):
        monkeypatch.setattr(fake, name, lambda *a, _name=name, **k: said.append((_name, a, k)), raising=False)

    def start_run(**options):
        said.append(("start_run", (), options))
        return SimpleNamespace(info=SimpleNamespace(run_id="abc"))

    monkeypatch.setattr(fake, "start_run", start_run, raising=False)
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    recipe = Recipe(tracking="mlflow", tensorboard=False)
    for _ in range(2):
        report(recipe, tmp_path / "run", picture)
    names = [name for name, _, _ in said]
    assert names[:2] == ["start_run", "log_params"]
    assert names.count("log_params") == 1 and names.count("end_run") == 2
    assert [k["run_id"] for name, _, k in said if name == "start_run"] == [None, "abc"]
    assert said[2] == ("log_metrics", ({"train_loss": 1.0, "val_accuracy": 0.1, "lr": 0.1},), {"step": 1})
    assert ("log_metrics", ({"test_accuracy": 0.9},), {}) in said
    assert ("log_artifact", (str(picture), "results"), {}) in said


def test_wandb_goes_on_in_the_same_run(tmp_path, picture, monkeypatch):
    started, said = [], []
    run = SimpleNamespace(
        log=lambda row, step=None: said.append((row, step)), summary={}, finish=lambda: said.append("finished")
    )
    fake = SimpleNamespace(init=lambda **options: started.append(options) or run, Image=lambda path: ("image", path))
    monkeypatch.setitem(sys.modules, "wandb", fake)
    recipe = Recipe(tracking="wandb", tensorboard=False)
    for _ in range(2):
        report(recipe, tmp_path / "run", picture)
    assert started[0]["id"] == started[1]["id"]
    assert started[0]["resume"] == "allow" and started[0]["config"]["tracking"] == ["wandb"]
    assert said[0] == ({"train_loss": 1.0, "val_accuracy": 0.1, "lr": 0.1}, 1)
    assert ({"confusion_matrix": ("image", str(picture))}, None) in said
    assert run.summary == {"test_accuracy": 0.9}
    assert said[-1] == "finished"
