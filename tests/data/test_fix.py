"""Fixing: whatever the tree and the list, and wherever it is killed, no picture is lost and undo restores all."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from fixing import CLASSES, NAMES, contents, plant, seen, take_all_back, write_table
from killing import Killed, Killer

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.journal import undo_last
from shoebox.data.fix import ACTIONS, fix, planned, summary
from shoebox.data.patch import Correction, read_patch, write_patch
from shoebox.data.sources import open_source

FILES = st.dictionaries(st.tuples(st.sampled_from(CLASSES), st.sampled_from(NAMES)), st.binary(max_size=9), min_size=3)
ROWS = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from(ACTIONS), st.sampled_from((*CLASSES, "cow", ""))), max_size=12
)
DOINGS = st.lists(
    st.tuples(
        st.sampled_from(["fix", "fix", "undo"]), st.sets(st.sampled_from(ACTIONS)), st.booleans(), st.integers(1, 60),
        st.booleans(), st.booleans(),
    ),
    max_size=5,
)  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(FILES, ROWS, DOINGS, st.sampled_from(["", "train/"]), st.booleans())
def test_killed_at_any_moment_no_picture_is_lost_and_undo_restores_all(files, rows, doings, base, patched):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        tree = {f"{base}{label}/{name}": content for (label, name), content in files.items()}
        plant(root, tree | {f"{base}cat/always.png": b"a"})
        names = sorted(tree)
        table = write_table(Path(folder) / "check.csv", [(names[i % len(names)], a, s) for i, a, s in rows])
        if patched:
            write_patch(root / "labels.csv", {names[0]: Correction(None, "by a person")})
        before, held = seen(root), contents(root)
        for what, actions, move, moment, after, dies in doings:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, "fsync", lambda handle: None)
                if dies:
                    Killer(patch, moment, after)
                with contextlib.suppress(Killed, UsageError):
                    if what == "fix":
                        fix(os.fspath(root), table, actions=actions, move=move)
                    else:
                        undo_last(root)
            assert contents(root) == held
        take_all_back(root)
        assert seen(root) == before


@pytest.mark.slow
def test_killed_for_real_at_two_hundred_moments(tmp_path):
    script = Path(__file__).with_name("fixing.py")
    done = subprocess.run([sys.executable, script, tmp_path, "200"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) >= 200


@pytest.fixture
def data(make_folder, tmp_path):
    root = make_folder(tmp_path / "pictures", {"train/cat": 4, "train/dog": 4, "val/cat": 1, "val/dog": 1})
    rows = [
        ("train/cat/0.png", "relabel", "dog"),
        ("train/cat/1.png", "drop", ""),
        ("train/cat/1.png", "quarantine", ""),
        ("train/dog/2.png", "quarantine", ""),
        ("train/dog/9.png", "drop", ""),
    ]
    table = tmp_path / "check.csv"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fixing.CLASSES", ("cat", "dog"))
        write_table(table, rows)
    return root, table


def test_nothing_is_done_unasked(data):
    root, table = data
    before = seen(root)
    result = fix(str(root), table)
    assert result["suggested"] == {"quarantine": 2, "drop": 0, "relabel": 1}
    assert not result["applied"]
    assert "nothing was changed" in summary(result)
    assert seen(root) == before
    assert not (root / ".shoebox").exists()


def test_corrections_go_into_labels_csv_and_are_taken_back(data):
    root, table = data
    write_patch(root / "labels.csv", {"train/dog/0.png": Correction("cat", "mine")})
    before = seen(root)
    first = fix(str(root), table, actions=["relabel"])
    assert first["chosen"] == 1
    assert "1 correction in" in summary(first)
    second = fix(str(root), table, actions=["quarantine"])
    assert set(read_patch(root / "labels.csv")) == {
        "train/dog/0.png", "train/cat/0.png", "train/cat/1.png", "train/dog/2.png",
    }  # fmt: skip
    index = open_source(root)
    assert len(index) == 8
    assert np.bincount(index.labels).tolist() == [4, 4]
    assert json.loads(json.dumps(second)) == second
    undo_last(root)
    assert set(read_patch(root / "labels.csv")) == {"train/dog/0.png", "train/cat/0.png"}
    undo_last(Path(first["journal"]))
    assert seen(root) == before


def test_files_are_moved_to_their_class_and_into_quarantine(data):
    root, table = data
    before = seen(root)
    result = fix(str(root), table, actions=["relabel", "quarantine"], move=True)
    assert result["moved"] == 3
    assert (root / "train/dog/0-2.png").is_file(), "train/dog/0.png is another picture's name"
    assert (root / ".shoebox/quarantine/train/cat/1.png").is_file()
    assert not (root / "train/dog/2.png").exists()
    assert np.bincount(open_source(root).labels).tolist() == [3, 5]
    assert undo_last(root)[1].done == 3
    assert seen(root) == before


def test_a_decision_made_since_is_not_lost_by_an_undo(data):
    root, table = data
    fix(str(root), table, actions=["relabel"])
    write_patch(root / "labels.csv", {**read_patch(root / "labels.csv"), "train/dog/0.png": Correction("cat")})
    assert undo_last(root)[1].failures
    assert set(read_patch(root / "labels.csv")) == {"train/dog/0.png", "train/cat/0.png"}


def test_what_has_changed_since_the_check_is_passed_over(data):
    root, _ = data
    index = open_source(root)
    rows = [
        {"path": "train/cat/0.png", "label": "dog", "action": "relabel", "suggested": "cat"},
        {"path": "train/cat/1.png", "label": "cat", "action": "relabel", "suggested": "cow"},
        {"path": "train/cat/2.png", "label": "cat", "action": "explode", "suggested": ""},
        {"path": "train/cat/3.png", "label": "cat", "action": "drop", "suggested": ""},
    ]
    assert planned(index, rows) == {"train/cat/3.png": ("drop", "")}


def test_a_class_that_comes_from_a_table_is_not_changed_by_moving(make_picture, tmp_path):
    root = tmp_path / "pictures"
    for i in range(4):
        make_picture(root / "cat" / f"{i}.png", seed=i)
    (root / "metadata.csv").write_text("file_name,label\n" + "".join(f"cat/{i}.png,{'cd'[i % 2]}\n" for i in range(4)))
    table = tmp_path / "check.csv"
    write_table(table, [("cat/0.png", "relabel", "d")])
    table.write_text(table.read_text().replace(",cat,", ",c,"))
    result = fix(str(root), table, actions=["relabel"], move=True)
    assert not result["applied"]
    assert "no folder gives it its class" in summary(result)


def test_an_archive_and_a_strangers_table_are_refused(data, tmp_path):
    import shutil

    root, table = data
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", root)
    with pytest.raises(UsageError, match="unpack it"):
        fix(packed, table, actions=["relabel"])
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ShoeboxError, match="not the table of shoebox check"):
        fix(str(root), tmp_path / "bad.csv")
    with pytest.raises(ShoeboxError, match="make it with shoebox check"):
        fix(str(root), tmp_path / "none.csv")
