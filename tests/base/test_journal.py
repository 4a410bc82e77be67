"""The journal: whatever the tree and the plan, and wherever it is killed, nothing is lost and undo restores all."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from killing import Killed, Killer, picture_of

from shoebox.base import copying, journal, ledger, moves
from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.journal import Step, apply, plan, resume, steps_of, undo, undo_last
from shoebox.base.ledger import SHELF, next_journal

NAMES = st.sampled_from(["a", "b.jpg", "ü\U0001f600", "new\nline", "bad\udcff", "=x()", "-rf", "with space", "A"])
FOLDERS = st.sampled_from(["", "one", "one/two", "other"])
TREES = st.dictionaries(st.tuples(FOLDERS, NAMES), st.binary(max_size=30), min_size=1, max_size=8)


def grow(root, tree):
    for i, ((folder, name), content) in enumerate(sorted(tree.items())):
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(i, 10**18 + i))
    return [root / folder / name for folder, name in sorted(tree)]


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    """A kill loses nothing that was written, synced or not; waiting for a disk is most of the time these tests take."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@st.composite
def plans(draw):
    tree = draw(TREES)
    steps = []
    for folder, name in sorted(tree):
        operation = draw(st.sampled_from(["move", "move", "move", "copy", "symlink", "hardlink", None]))
        if operation:
            steps.append((operation, folder, name, draw(st.sampled_from(["new", "new/deep", "one", "kept"]))))
    return tree, steps


def laid_out(root, tree, steps):
    grow(root, tree)
    used, made = set(), []
    for i, (operation, folder, name, target) in enumerate(steps):
        path = root / target / f"{i} {name}"
        if path not in used and not path.exists():
            used.add(path)
            made.append(Step(operation, root / folder / name, path))
    return made


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(plans(), st.integers(1, 60), st.booleans(), st.integers(1, 60), st.booleans(), st.sampled_from("xlc"))
def test_killed_at_any_moment_both_ways_nothing_is_lost_and_undo_restores_all(plan_, first, a, second, b, kind):
    """kind: x = exclusive rename, l = link and unlink, c = across devices."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        root = Path(folder) / "tree"
        root.mkdir()
        steps = laid_out(root, *plan_)
        if kind == "l":
            patch.setattr(moves, "_rename_exclusively", lambda source, target: False)
        elif kind == "c":
            patch.setattr(journal, "move", crossing)
        before = picture_of(root)
        contents = sorted(v[0] for v in before.values() if isinstance(v, tuple))
        written = plan(Path(folder) / "journals" / "j", steps)
        assert picture_of(root) == before
        died(apply, written, first, a)
        assert_nothing_lost(root, contents)
        outcome = resume(written)
        assert not outcome.failures
        for step in steps:
            assert os.path.lexists(step.target)
            assert step.source.exists() == (step.operation != "move")
        applied = picture_of(root)
        died(undo, written, second, b)
        assert_nothing_lost(root, contents)
        assert not undo(written).failures
        assert picture_of(root) == before
        assert applied != before or not steps


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(plans(), st.integers(1, 60), st.booleans())
def test_a_half_applied_journal_can_be_undone(plan_, moment, after):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tree"
        root.mkdir()
        steps = laid_out(root, *plan_)
        before = picture_of(root)
        written = plan(Path(folder) / "journals" / "j", steps)
        died(apply, written, moment, after)
        assert not undo(written).failures
        assert picture_of(root) == before


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_what_a_killed_undo_left_is_taken_back_by_the_folder_s_next_one(tmp_path, after, blocked):
    """At its last moments too, when only an empty folder is left; where an undo had ended with a failure as well."""
    deaths = 0
    for moment in range(1, 30):
        root = tmp_path / f"{moment}"
        grow(root, {("one", "a"): b"a", ("one", "b"): b"b"})
        (root / SHELF).mkdir()
        steps = [Step("move", root / "one" / name, root / "new" / "deep" / name) for name in "ab"]
        before = picture_of(root / "one")
        written = plan(next_journal(root, "sort"), steps)
        apply(written)
        if blocked:
            (root / "one" / "a").touch()
            assert undo(written).failures
            (root / "one" / "a").unlink()
        if died(undo, written, moment, after):
            deaths += 1
            with contextlib.suppress(UsageError):  # killed after its last word
                undo_last(root)
        assert picture_of(root / "one") == before
        assert not (root / "new").exists()
        with pytest.raises(UsageError, match="nothing"):
            undo_last(root)
    assert deaths > 6


def died(call, written, moment, after):
    with pytest.MonkeyPatch.context() as patch:
        Killer(patch, moment, after)
        try:
            call(written)
        except Killed:
            return True
    return False


def crossing(source, target):
    """As between two disks: a rename only within a folder."""
    if source.parent != target.parent:
        raise moves.Crossing(errno.EXDEV, "another disk")
    moves.move(source, target)


def assert_nothing_lost(root, contents):
    now = [v[0] for v in picture_of(root).values() if isinstance(v, tuple)]
    for content in set(contents):
        assert now.count(content) >= 1


SCRIPT = """
import sys; from pathlib import Path
from shoebox.base import journal
print("ready", flush=True); sys.stdin.readline()
getattr(journal, sys.argv[1])(Path(sys.argv[2]))
"""


def killed_for_real(verb, written, delay):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, verb, str(written)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    process.stdin.write(b"go\n")
    process.stdin.flush()
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_real_kill_while_it_applies_and_while_it_undoes(tmp_path):
    root = tmp_path / "tree"
    grow(root, {("pile", f"{i}.jpg"): bytes([i % 256]) * 50 for i in range(2000)})
    before = picture_of(root)
    steps = [Step("move", root / "pile" / f"{i}.jpg", root / f"class {i % 7}" / f"{i}.jpg") for i in range(2000)]
    written = plan(tmp_path / "journals" / "j", steps)
    killed_for_real("apply", written, 0.02)
    assert resume(written).done == 2000
    killed_for_real("undo", written, 0.02)
    assert undo(written).done == 2000
    assert picture_of(root) == before


def test_two_real_disks(tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is only one disk here")
        (tmp_path / "a").write_bytes(b"x" * 3_000_000)
        before = picture_of(tmp_path)
        written = plan(Path(other) / "j", [Step("move", tmp_path / "a", Path(other) / "sorted" / "a")])
        assert apply(written).done == 1
        assert not (tmp_path / "a").exists() and (Path(other) / "sorted" / "a").stat().st_size == 3_000_000
        undo(written)
        assert picture_of(tmp_path) == before and not (Path(other) / "sorted").exists()


def test_a_target_that_appears_meanwhile_is_not_overwritten(tmp_path):
    (tmp_path / "a").write_text("mine")
    (tmp_path / "c").write_text("other")
    steps = [Step("move", tmp_path / "a", tmp_path / "b"), Step("move", tmp_path / "c", tmp_path / "d")]
    written = plan(tmp_path / "journals" / "j", steps)
    (tmp_path / "b").write_text("yours")
    outcome = apply(written)
    assert outcome.done == 1 and [f.step for f in outcome.failures] == steps[:1]
    assert (tmp_path / "a").read_text() == "mine" and (tmp_path / "b").read_text() == "yours"
    assert not undo(written).failures
    assert (tmp_path / "b").read_text() == "yours" and (tmp_path / "c").read_text() == "other"


def test_what_a_person_changed_since_is_left_alone_and_told(tmp_path):
    for name in "abc":
        (tmp_path / name).write_text(name)
    steps = [Step(op, tmp_path / n, tmp_path / "to" / n) for op, n in (("move", "a"), ("copy", "b"), ("move", "c"))]
    written = plan(tmp_path / "journals" / "j", steps)
    (tmp_path / "c").write_text("changed before")
    assert "changed since the plan" in apply(written).failures[0].reason
    (tmp_path / "to" / "b").write_text("changed after")
    (tmp_path / "a").write_text("a new file of the old name")
    reasons = [f.reason for f in undo(written).failures]
    assert len(reasons) == 2 and (tmp_path / "to" / "b").exists() and (tmp_path / "to" / "a").read_text() == "a"
    (tmp_path / "a").unlink()
    assert len(resume(written).failures) == 1 and (tmp_path / "a").read_text() == "a"


def test_a_full_disk_stops_it_and_resume_goes_on(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("a")
    written = plan(tmp_path / "journals" / "j", [Step("copy", tmp_path / "a", tmp_path / "b")])

    def full(source, temporary, **how):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(copying, "copy_aside", full)
        with pytest.raises(ShoeboxError, match="No space left"):
            apply(written)
    assert resume(written).done == 1 and (tmp_path / "b").read_text() == "a"


def test_many_copies_wait_for_the_disk_together(tmp_path, monkeypatch):
    (tmp_path / "from").mkdir()
    steps = []
    for i in range(7):
        (tmp_path / "from" / str(i)).write_text(str(i))
        steps.append(Step("copy", tmp_path / "from" / str(i), tmp_path / "to" / str(i)))
    written = plan(tmp_path / "journals" / "j", steps)
    (tmp_path / "from" / "4").write_text("changed since")
    waits = []
    monkeypatch.setattr(journal, "GROUP", 3)
    monkeypatch.setattr(ledger.os, "fsync", lambda handle: waits.append(handle))
    outcome = apply(written)
    assert outcome.done == 6 and "changed since" in outcome.failures[0].reason
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["0", "1", "2", "3", "5", "6"]
    # Six files, three groups in the journal, its end, and the two folders.
    assert len(waits) == 6 + 3 + 1 + 2


def test_a_copy_that_cannot_reach_the_disk_is_made_again(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("a")
    written = plan(tmp_path / "journals" / "j", [Step("copy", tmp_path / "a", tmp_path / "b")])
    monkeypatch.setattr(copying, "_on_disk", lambda path: False)
    assert apply(written).done == 1 and (tmp_path / "b").read_text() == "a"
    assert not list(tmp_path.glob(".*.part"))


def test_a_target_may_be_the_source_of_an_earlier_move(tmp_path):
    (tmp_path / "labels.csv").write_text("old")
    (tmp_path / "new").write_text("new")
    before = picture_of(tmp_path)
    steps = [
        Step("move", tmp_path / "labels.csv", tmp_path / "labels-1.csv"),
        Step("copy", tmp_path / "new", tmp_path / "labels.csv"),
    ]
    written = plan(tmp_path.parent / f"{tmp_path.name}-journals" / "j", steps)
    apply(written)
    assert (tmp_path / "labels.csv").read_text() == "new" and steps_of(written) == tuple(steps)
    undo(written)
    assert picture_of(tmp_path) == before


@pytest.mark.parametrize("fault", ["folder", "missing", "twice", "exists", "moved twice", "link"])
def test_plans_that_cannot_be_carried_out_are_refused(tmp_path, fault):
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("a")
    a, b, new = tmp_path / "a", tmp_path / "b", tmp_path / "new"
    steps = {
        "folder": [Step("move", tmp_path / "folder", new)],
        "missing": [Step("move", tmp_path / "none", new)],
        "twice": [Step("move", a, new), Step("move", b, new)],
        "exists": [Step("copy", a, b)],
        "moved twice": [Step("move", a, new), Step("copy", a, tmp_path / "newer")],
        "link": [Step("move", tmp_path / "link", new)],
    }[fault]
    with pytest.raises(UsageError):
        plan(tmp_path / "j", steps)
    assert not (tmp_path / "j").exists()


def test_what_is_no_journal_is_refused_and_one_is_written_once(tmp_path):
    (tmp_path / "a").write_text("{}")
    for call in (apply, undo, resume, steps_of):
        with pytest.raises(UsageError):
            call(tmp_path / "a")
        with pytest.raises(UsageError):
            call(tmp_path / "none")
    assert not (tmp_path / "lock").exists()
    plan(tmp_path / "j", [])
    with pytest.raises(UsageError, match="written once"):
        plan(tmp_path / "j", [])
    undo(tmp_path / "j")
    with pytest.raises(UsageError, match="undone"):
        apply(tmp_path / "j")
