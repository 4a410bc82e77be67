import json

import pytest

from shoebox.base.errors import UsageError
from shoebox.data.sources import open_source
from shoebox.training.ladder import climb
from shoebox.training.runs import compare_runs, comparison_text, list_runs
from shoebox.training.train import train


@pytest.fixture
def ladder(tmp_path):
    """A ladder of two steps, and the digits it climbs on: one that can learn, one that cannot."""
    path = tmp_path / "steps.yaml"
    path.write_text(
        "size: 16\nepochs: 1\noptimizer: adam\nprecision: fp32\ntensorboard: false\naugment: []\n"
        "model: simple(width=4, hidden=16)\n"
        "steps:\n  slow: {lr: 1.0e-9}\n  fast: {lr: 0.01}\n"
    )
    return path


def test_runs_are_listed_and_compared_and_the_ladder_says_what_each_step_brought(tmp_path, ladder, monkeypatch):
    monkeypatch.setattr("shoebox.training.train.write_results", lambda *a, **k: [])  # figures are tested elsewhere
    done = climb("digits", ladder, run=tmp_path / "runs")
    folders = [tmp_path / "runs" / name for name in ("1-slow", "2-fast")]
    assert done["verdicts"][0].startswith("fast is better than slow: accuracy +")
    assert done["steps"][0]["gain"] == ""
    assert done["steps"][1]["gain"].startswith("+")
    assert done["steps"][1]["significant"].startswith("yes, p = ")
    assert "fast is better than slow" in (tmp_path / "runs" / "ladder.md").read_text()

    rows = list_runs(tmp_path / "runs")
    assert [row["run"] for row in rows] == [str(folder) for folder in reversed(folders)]
    assert all(row["state"] == "finished" and row["epochs"] == 1 for row in rows)
    assert rows[0]["accuracy"] == json.loads((folders[1] / "result.json").read_text())["test"]["accuracy"]

    comparison = compare_runs(folders)
    assert comparison.part == "test"
    assert comparison.costs["2-fast"]["MB"] > 0
    text = comparison_text(comparison, "")
    assert "2-fast is better than 1-slow" in text and "newly right: " in text
    assert compare_runs(folders, part="val").part == "val"
    with pytest.raises(UsageError, match="twice"):
        compare_runs([folders[0], folders[0]])
    with pytest.raises(UsageError, match=r"no test\.npz"):
        compare_runs([folders[0], tmp_path], part="test")


def test_a_run_that_was_stopped_is_listed_as_such(tmp_path, make_folder, small):
    from shoebox.training.fit import fit

    fit(open_source(make_folder(tmp_path / "data", {"a": 20, "b": 20})), small, tmp_path / "runs" / "half")
    row = list_runs(tmp_path / "runs")[0]
    assert (row["state"], row["epochs"], row["part"]) == ("stopped", 3, "val")
    assert 0 <= row["accuracy"] <= 1
    with pytest.raises(UsageError, match="no folder"):
        list_runs(tmp_path / "none")


def test_two_seeds_do_not_differ(tmp_path, make_folder, small, monkeypatch):
    monkeypatch.setattr("shoebox.training.train.write_results", lambda *a, **k: [])
    data = make_folder(tmp_path / "data", {f"{part}/{name}": 20 for part in ("train", "test") for name in "ab"})
    runs = [train(data, small, run=tmp_path / str(seed), seed=seed, epochs=1).folder for seed in (0, 1)]
    assert "no significant difference between 0 and 1" in compare_runs(runs).pairs[0].verdict
