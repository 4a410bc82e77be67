"""Diagnose: from a folder to a table and a page; with labels, what a network trained here says of them."""

import re

import numpy as np
import pytest
from PIL import Image

from shoebox.base.errors import MissingExtra, UsageError
from shoebox.data.check import read_report
from shoebox.data.sources import open_source
from shoebox.training import learnt
from shoebox.training.diagnose import diagnose
from shoebox.training.learnt import grouped_folds


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    """Two classes told by colour, five pictures under the wrong one, and a name that would be markup or a formula."""
    root = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(0)
    for label, tint in (("red", (200, 60, 60)), ("<b>=blue", (60, 60, 200))):
        (root / label).mkdir()
        for i in range(60):
            wrong = i < 5
            shown = np.array(tint)[::-1] if wrong else np.array(tint)
            pixels = draw.normal(shown, 40, (24, 24, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / label / f"{'wrong' if wrong else 'right'}-{i}.png")
    (root / "red" / "broken.png").write_bytes(b"")
    return root


def test_without_labels(coloured, tmp_path):
    report = diagnose(coloured, csv=tmp_path / "check.csv", html=tmp_path / "check.html")
    assert report.worst() == "error"
    assert not {"label_suspects", "outliers", "more_pictures"} & set(report.ran)
    rows = read_report(tmp_path / "check.csv")
    assert [row["path"] for row in rows if row["check"] == "unreadable"] == ["red/broken.png"]
    page = (tmp_path / "check.html").read_text("utf-8")
    assert "broken.png" in page
    assert "<b>=blue" not in page
    assert not re.search(r'(?:src|href)="(?!#|data:)', page), "the page needs nothing else"
    diagnose(coloured, csv=tmp_path / "check.csv")  # its own table is written over


def test_another_programs_table_is_not_written_over(coloured, tmp_path):
    (tmp_path / "check.csv").write_text("mine\n")
    with pytest.raises(UsageError, match="choose another name"):
        diagnose(coloured, csv=tmp_path / "check.csv")
    assert (tmp_path / "check.csv").read_text() == "mine\n"


def test_a_missing_library_is_told_before_any_work(coloured, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="cleanlab"):
        diagnose(coloured / "gone", labels=True)


def test_with_labels_the_wrong_ones_come_first(coloured, tmp_path, monkeypatch):
    small = {"model": "simple(width=8)", "size": 16, "batch_size": 8, "optimizer": "adamw", "lr": 0.01}
    monkeypatch.setattr(learnt, "SETTINGS", {**small, "epochs": 8, "label_smoothing": 0.0, "tensorboard": False})
    report = diagnose(coloured, labels=True, csv=tmp_path / "check.csv", html=tmp_path / "check.html")
    assert {"label_suspects", "outliers", "look_alikes", "more_pictures"} <= set(report.ran)
    rows = [row for row in read_report(tmp_path / "check.csv") if row["check"] == "label_suspects"]
    assert sum("wrong-" in row["path"] for row in rows[:10]) >= 9
    assert {(row["label"], row["suggested"]) for row in rows[:9]} == {("red", "<b>=blue"), ("<b>=blue", "red")}
    assert rows[0]["action"] == "relabel"
    assert 'class="better"' in (tmp_path / "check.html").read_text("utf-8")


def test_a_group_is_in_one_fold_and_every_fold_has_every_class():
    draw = np.random.default_rng(0)
    groups = np.sort(draw.integers(0, 150, 400))
    labels = groups % 3
    folds = grouped_folds(labels, groups, 5)
    assert all(len(np.unique(folds[groups == g])) == 1 for g in np.unique(groups))
    counts = np.stack([np.bincount(folds[labels == k], minlength=5) for k in range(3)])
    assert counts.min() > 0.5 * counts.mean()


def test_unlabelled_pictures_are_checked_but_not_judged(make_folder, tmp_path):
    root = make_folder(tmp_path / "pile", {"unlabelled": 4})
    assert len(open_source(root)) == 4
    assert diagnose(root).pictures == 4
    with pytest.raises(Exception, match="at least 2 are needed"):
        diagnose(root, labels=True)
