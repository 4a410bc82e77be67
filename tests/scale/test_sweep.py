import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from shoebox.base.errors import MissingExtra, UsageError
from shoebox.classifier import Classifier
from shoebox.scale import sweep as module
from shoebox.scale.study import opened, tries
from shoebox.scale.sweep import summary, sweep
from shoebox.training.loop import Stopped

SETTINGS = {"size": 8, "epochs": 2, "batch_size": 8, "optimizer": "adam", "precision": "fp32", "tensorboard": False}
OVER = ["lr=log(1e-4,1e-1)", "label_smoothing=uniform(0,0.2)"]

# A process of its own, whose signs of life are watched more closely than those of real sweeps.
PROCESS = """
import sys, json, torch
torch.set_num_threads(1)
from shoebox.scale import study, sweep
study.HEARTBEAT, study.GRACE, sweep.WAIT = 1, 3, 0.2
import shoebox.training.train as train
train.write_results = lambda *a, **k: []
data, folder, trials, slow = sys.argv[1:]
import time
from shoebox.training import fit
real = fit.write_history
def slower(*a):
    time.sleep(float(slow))
    real(*a)
fit.write_history = slower
settings = dict({settings!r}, model="simple(width=2, hidden=4)", augment=[])
result = sweep.sweep(data, "fast", over={over!r}, trials=int(trials), run=folder, **settings)
print(json.dumps(result))
"""


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch):
    monkeypatch.setattr("shoebox.training.train.write_results", lambda *a, **k: [])
    monkeypatch.setattr(module, "WAIT", 0.2)


@pytest.fixture
def data(tmp_path, make_folder):
    return make_folder(tmp_path / "data", {"cat": 24, "dog": 24}, size=(8, 8))


def run(data, folder, **options):
    given = {"over": OVER, "trials": 3, "model": "simple(width=2, hidden=4)", "augment": [], **SETTINGS, **options}
    return sweep(data, "fast", run=folder, **given)


def begin(data, folder, trials, slow=0.0):
    code = PROCESS.format(over=OVER, settings=SETTINGS)
    command = [sys.executable, "-c", code, str(data), str(folder), str(trials), str(slow)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def roots(folder):
    with opened(folder, None, {}, direction="maximize", seed=0) as study:
        return tries(study)


def test_a_sweep_ends_with_the_best_run_kept_like_any_other(data, tmp_path):
    result = run(data, tmp_path / "sweep", trials=6)
    assert sum(result["states"].values()) == 6
    best = Path(result["best"]["run"])
    for name in ("model.safetensors", "result.json", "test.npz", "checkpoints", "README.md"):
        assert (best / name).exists(), name
    kept = json.loads((best / "result.json").read_text())
    assert kept["val"]["macro_f1"] == pytest.approx(result["best"]["value"])
    assert Classifier.load(best).card["recipe"]["lr"] == result["best"]["settings"]["lr"]
    table = pd.read_csv(tmp_path / "sweep" / "sweep.csv")
    assert list(table["trial"]) == list(range(6))
    assert table["value"].max() == result["best"]["value"]
    assert table["lr"].between(1e-4, 1e-1).all()
    others = [place for place in (tmp_path / "sweep" / "trials").iterdir() if place != best]
    assert len(others) == 5 and not any((other / "checkpoints").exists() for other in others)
    for name in ("importance", "parallel_coordinates"):
        assert (tmp_path / "sweep" / f"{name}.png").stat().st_size > 5000
    assert f"its run: {best}" in summary(result)
    # The same command again has nothing to do; with more trials it goes on.
    assert run(data, tmp_path / "sweep", trials=6)["best"] == result["best"]
    assert sum(run(data, tmp_path / "sweep", trials=7)["states"].values()) == 7


def test_poor_trials_are_pruned_by_their_epochs(data, tmp_path, monkeypatch):
    seen = {}

    def fake(index, recipe, folder, *, on_epoch, **options):
        """Trains nothing: macro F1 grows with the epochs, the faster the higher the rate."""
        for epoch in (1, 2, 3, 4):
            seen[recipe.lr] = epoch
            on_epoch({"epoch": epoch, "val_macro_f1": recipe.lr * epoch})
        return SimpleNamespace(card={"val": {"macro_f1": recipe.lr * 4}}), None

    monkeypatch.setattr(module, "fit", fake)
    monkeypatch.setattr(module, "keep", lambda *a: None)
    result = run(data, tmp_path / "sweep", trials=12, over=["lr=uniform(0.01,0.2)"], epochs=4)
    assert result["states"]["pruned"] >= 1
    assert result["states"]["complete"] + result["states"]["pruned"] == 12
    assert result["best"]["settings"]["lr"] == max(seen)
    assert min(seen.values()) < 4 == seen[max(seen)]


@pytest.mark.slow
def test_twelve_trials_survive_being_killed(data, tmp_path):
    process = begin(data, tmp_path / "sweep", 12, slow=0.1)
    deadline = time.monotonic() + 60
    while (
        process.poll() is None
        and time.monotonic() < deadline
        and not (tmp_path / "sweep" / "trials" / "004" / "history.csv").exists()
    ):
        time.sleep(0.05)
    process.kill()
    process.communicate()
    before = roots(tmp_path / "sweep")
    assert 4 < len(before) < 12
    assert before[max(before)][-1].state.name == "RUNNING"  # as it was when the process died
    again = begin(data, tmp_path / "sweep", 12)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    states = json.loads(out)["states"]
    assert sum(states.values()) == 12
    assert set(states) <= {"complete", "pruned"}
    after = roots(tmp_path / "sweep")
    assert len(after) == 12
    died = after[max(before)]
    assert len(died) == 2 and died[0].state.name == "FAIL"
    assert died[0].params == died[1].params
    assert json.loads(out)["best"]["value"] > 0


@pytest.mark.slow
def test_two_processes_share_one_sweep_without_losing_a_trial(data, tmp_path):
    both = [begin(data, tmp_path / "sweep", 12) for _ in range(2)]
    results = []
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        results.append(json.loads(out))
    assert [sum(result["states"].values()) for result in results] == [12, 12]
    assert results[0]["best"]["run"] == results[1]["best"]["run"]
    found = roots(tmp_path / "sweep")
    assert len(found) == 12
    assert all(trials[-1].state.name in ("COMPLETE", "PRUNED") for trials in found.values())
    assert len({tuple(trials[-1].params.values()) for trials in found.values()}) == 12  # no two tried the same
    assert (Path(results[0]["best"]["run"]) / "result.json").is_file()


def test_one_too_many_is_set_aside(data, tmp_path):
    run(data, tmp_path / "sweep", trials=2)
    with opened(tmp_path / "sweep", None, {}, direction="maximize", seed=0) as study:
        study.enqueue_trial({"lr": 0.01, "label_smoothing": 0.0})  # as if another process had begun it just now
    assert sum(run(data, tmp_path / "sweep", trials=2)["states"].values()) == 2
    assert len(roots(tmp_path / "sweep")) == 2


def test_a_stopped_trial_is_saved_and_queued_and_goes_on(data, tmp_path, monkeypatch):
    real, seen = module.fit, []

    def stopping(*args, on_epoch, **options):
        def after(row):
            on_epoch(row)
            seen.append(row["epoch"])
            if len(seen) == 1:
                os.kill(os.getpid(), signal.SIGTERM)

        return real(*args, on_epoch=after, **options)

    monkeypatch.setattr(module, "fit", stopping)
    with pytest.raises(Stopped):
        run(data, tmp_path / "sweep", trials=1)
    assert roots(tmp_path / "sweep")[0][-1].state.name == "WAITING"
    result = run(data, tmp_path / "sweep", trials=1)
    assert result["states"] == {"complete": 1}
    assert seen == [1, 2]  # the second epoch, not the first again


def test_time_sets_a_sweep_aside(data, tmp_path):
    result = run(data, tmp_path / "sweep", trials=50, minutes=0.02)
    assert sum(result["states"].values()) < 50
    assert "running" not in result["states"]


def test_a_trial_that_cannot_be_trained_does_not_end_the_sweep(data, tmp_path):
    result = run(data, tmp_path / "sweep", over=["model=choice('simple', 'no-such-network')"], trials=4)
    assert result["states"].get("complete", 0) + result["states"].get("failed", result["states"].get("fail", 0)) == 4


def test_another_sweep_is_refused_and_so_is_one_without_validation(data, tmp_path, monkeypatch):
    run(data, tmp_path / "sweep", trials=1)
    with pytest.raises(UsageError, match="a sweep of something else"):
        run(data, tmp_path / "sweep", trials=1, over=["lr=log(1e-3,1e-1)"])
    with pytest.raises(UsageError, match="needs a validation part"):
        run(data, tmp_path / "other", validation=0.0)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"\[sweep\]"):
        run(data, tmp_path / "sweep", trials=1)
