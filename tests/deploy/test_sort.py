"""Sorting: whatever the pile and wherever it is stopped, no content is lost, nothing overwritten, undo restores all."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

sys.path.insert(0, str(Path(__file__).parent))
from sorting import Colours, held, make_picture, make_run, names, sort_all

from shoebox.base import journal
from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.ledger import Ledger, journals
from shoebox.deploy import sort as sorting

FILES = st.sampled_from(
    [
        "a.png",
        "A.png",
        "b.png",
        "x/a.png",
        "x/y/a.png",
        "red/b.png",
        "ü\U0001f600.png",
        "new\nline.png",
        "é" * 125 + ".png",
    ]
)
COLOURS = st.tuples(*[st.integers(0, 255)] * 3)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(sorting, "open_backend", lambda *a, **k: Colours())
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


class Killed(BaseException):
    """The end of the process, as far as a test can have one."""


class Sorting(RuleBasedStateMachine):
    """A pile that grows and is sorted, killed, resumed and taken back, in any order."""

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.run, self.pile, self.to = make_run(self.root / "run"), self.root / "pile", self.root / "to"
        self.pile.mkdir()
        self.to.mkdir()
        self.given = {}
        self.moved = False

    def teardown(self):
        shutil.rmtree(self.root)

    @rule(name=FILES, colour=COLOURS)
    def a_picture_is_added(self, name, colour):
        if not os.path.lexists(self.pile / name):
            make_picture(self.pile / name, colour)
            digest = names(self.pile)[name]
            if name in self.given:  # its namesake was moved away
                self.moved = True
            self.given.setdefault(name, []).append(digest)

    @rule(how=st.sampled_from(["copy", "move", "link"]))
    def it_is_sorted(self, how):
        sort_all(self.run, self.pile, self.to, how)

    @rule(how=st.sampled_from(["copy", "move", "link"]), after=st.integers(0, 12))
    def it_is_sorted_and_killed(self, how, after):
        with pytest.MonkeyPatch.context() as patch:
            self.kill(patch, after)
            with contextlib.suppress(Killed):
                sort_all(self.run, self.pile, self.to, how)

    @precondition(lambda self: journals(self.to))
    @rule(after=st.none() | st.integers(0, 12))
    def it_is_taken_back(self, after):
        with pytest.MonkeyPatch.context() as patch:
            if after is not None:
                self.kill(patch, after)
            with contextlib.suppress(Killed, UsageError):
                journal.undo_last(self.to)

    @staticmethod
    def kill(patch, after):
        real, left = Ledger.note, iter(range(after))

        def note(self, line, **durably):
            if next(left, None) is None:
                raise Killed
            real(self, line, **durably)

        patch.setattr(Ledger, "note", note)

    @invariant()
    def every_content_is_there(self):
        wanted = Counter(digest for digests in self.given.values() for digest in digests)
        now = held(self.pile, self.to)
        assert set(now) == set(wanted)
        assert all(now[digest] >= count for digest, count in wanted.items())

    @precondition(lambda self: not self.moved)
    @rule()
    def all_is_taken_back(self):
        sorting._finish(self.to, journal.QUIET)
        while True:
            try:
                _, outcome = journal.undo_last(self.to)
            except UsageError:
                break
            assert not outcome.failures
        assert names(self.pile) == {name: digests[0] for name, digests in self.given.items()}
        assert not names(self.to)


class TestSorting(Sorting.TestCase):
    settings = settings(
        max_examples=25, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )


@pytest.mark.slow
def test_killed_at_two_hundred_moments_nothing_is_lost(tmp_path):
    script = Path(__file__).with_name("sorting.py")
    done = subprocess.run([sys.executable, script, tmp_path, "200"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) >= 200


def test_what_is_where(run, tmp_path):
    pile, to = tmp_path / "pile", tmp_path / "to"
    make_picture(pile / "red" / "one.png", (250, 0, 0))
    make_picture(pile / "red" / "wrong.png", (0, 250, 0))
    make_picture(pile / "deep" / "er" / "one.png", (255, 10, 10))
    make_picture(pile / "grey.png", (90, 90, 90))
    (pile / "broken.png").write_bytes(b"")
    result = sort_all(run, pile, to)
    assert result["counts"] == {"_unsure": 1, "green": 1, "red": 2, "(unreadable)": 1}
    assert sorted(names(to)) == ["_unsure/grey.png", "green/wrong.png", "red/one (2).png", "red/one.png"]
    assert result["scores"] == {
        "labelled": 2, "accuracy": 0.5, "sorted": 2, "sorted_accuracy": 0.5, "mistakes": 1,
    }  # fmt: skip
    table = pd.read_csv(result["predictions"]).set_index("path")
    assert (
        table.loc["broken.png", "status"] == "the file is empty" and table.loc["broken.png", "verdict"] == "unreadable"
    )
    assert table.loc["red/wrong.png", "place"] == "green/wrong.png"


def test_without_a_yes_nothing_is_touched(run, tmp_path):
    make_picture(tmp_path / "pile" / "a.png", (250, 0, 0))
    said = []
    result = sorting.sort(run, tmp_path / "pile", tmp_path / "to", agree=lambda plan: bool(said.append(plan)))
    assert not result["applied"] and not (tmp_path / "to").exists()
    assert "red" in said[0] and "at most 5.0%" in said[0]


def test_what_was_sorted_before_is_left_and_new_pictures_are_added(run, tmp_path):
    pile, to = tmp_path / "pile", tmp_path / "pile" / "sorted"
    make_picture(pile / "a.png", (250, 0, 0))
    sort_all(run, pile, to)
    make_picture(pile / "b.png", (251, 0, 0))
    assert sort_all(run, pile, to)["counts"] == {"red": 1, "(left)": 1}
    assert sorted(names(to)) == ["red/a.png", "red/b.png"]
    assert journal.undo_last(to)[0].name == "sort-2.journal"
    assert journal.undo_last(to)[0].name == "sort-1.journal"
    assert not names(to)


def test_foreign_pictures_go_to_a_folder_of_their_own(run, tmp_path):
    make_picture(tmp_path / "pile" / "red.png", (255, 0, 0))
    make_picture(tmp_path / "pile" / "violet.png", (220, 0, 210))
    common = {"threshold": 0.4, "agree": lambda plan: True}
    result = sorting.sort(run, tmp_path / "pile", tmp_path / "to", unknown=0.01, **common)
    assert sorted(names(tmp_path / "to")) == ["_unknown/violet.png", "red/red.png"], result["counts"]


def test_a_hard_link_is_sorted_once_and_reported(run, tmp_path):
    make_picture(tmp_path / "pile" / "a.png", (250, 0, 0))
    (tmp_path / "pile" / "b.png").hardlink_to(tmp_path / "pile" / "a.png")
    result = sort_all(run, tmp_path / "pile", tmp_path / "to", "move")
    assert result["counts"] == {"red": 1, "(left)": 1}
    assert (tmp_path / "pile" / "b.png").exists()
    assert "another name (hard link) of a.png" in Path(result["predictions"]).read_text()


def test_a_full_disk_is_refused_before_anything_is_copied(run, tmp_path, monkeypatch):
    make_picture(tmp_path / "pile" / "a.png", (250, 0, 0))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(ShoeboxError, match="room for"):
        sort_all(run, tmp_path / "pile", tmp_path / "to")
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("wrong", [{"how": "eat"}, {"unknown": 1.0}, {"error": 0.0}], ids=str)
def test_options_out_of_range_are_refused(run, tmp_path, wrong):
    make_picture(tmp_path / "pile" / "a.png", (250, 0, 0))
    with pytest.raises(UsageError):
        sorting.sort(run, tmp_path / "pile", tmp_path / "to", agree=lambda plan: True, **wrong)


def test_a_pile_is_not_sorted_into_itself(run, tmp_path):
    make_picture(tmp_path / "pile" / "a.png", (250, 0, 0))
    with pytest.raises(UsageError, match="the pile itself"):
        sort_all(run, tmp_path / "pile", tmp_path / "pile")
