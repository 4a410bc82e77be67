import dataclasses
import itertools
import json
import math
import os
import signal
import time

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.progress import Lines
from shoebox.classifier import Classifier
from shoebox.data.sources import open_source
from shoebox.training import loop
from shoebox.training.fit import fit
from shoebox.training.loop import Stopped
from shoebox.training.state import checkpoints


@pytest.fixture
def index(tmp_path, make_folder):
    return open_source(make_folder(tmp_path / "data", {"cat": 30, "dog": 30}))


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def test_a_run_leaves_a_classifier_and_its_record(tmp_path, index, small):
    rows = []
    classifier, packed = fit(index, small, tmp_path / "run", on_epoch=rows.append)
    folder = tmp_path / "run"
    for name in (
        "model.safetensors",
        "config.json",
        "README.md",
        "recipe.yaml",
        "run.json",
        "split.csv",
        "skipped.csv",
    ):
        assert (folder / name).is_file(), name
    assert len(packed) == 60
    history = pd.read_csv(folder / "history.csv")
    assert list(history["epoch"]) == [1, 2, 3] == [row["epoch"] for row in rows]
    figures = ("loss", "accuracy", "macro_precision", "macro_recall", "macro_f1", "roc_auc", "log_loss")
    for part in ("train", "val"):
        for figure in figures:
            assert np.isfinite(history[f"{part}_{figure}"]).all()
    assert (history["pictures_per_second"] > 0).all()
    assert len(checkpoints(folder / "checkpoints")) <= 3
    assert Classifier.load(folder).card["best_epoch"] == classifier.card["best_epoch"]


def test_the_card_names_the_pictures_as_they_were_when_the_run_began(tmp_path, index, small):
    before = []

    def change(row):
        before.append(json.loads((tmp_path / "run" / "run.json").read_text())["data"])
        os.utime(index.file(0), (1, 1))

    classifier, packed = fit(index, small, tmp_path / "run", on_epoch=change)
    assert {classifier.card["data"]} == set(before)
    assert packed.index.fingerprint() in before
    assert dataclasses.replace(packed.index, stamps=None).fingerprint() not in before


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path, index, small):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit(index, small.override({"seed": seed, "validation": 0.0}), tmp_path / name)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


def test_memory_of_smaller_pictures_is_given_back_as_they_grow(tmp_path, index, small, monkeypatch):
    sides, given_back = [], []
    monkeypatch.setattr(loop, "give_back_memory", lambda: given_back.append(len(sides)))
    side_at = loop.side_at
    monkeypatch.setattr(loop, "side_at", lambda *given: sides.append(side_at(*given)) or sides[-1])
    fit(index, small.override({"grow": 0.5, "epochs": 3, "validation": 0.0}), tmp_path / "run")
    assert sides == sorted(sides) and sides[0] < sides[-1]
    assert given_back == [1 + sides.index(side) for side in dict.fromkeys(sides)][1:]


@pytest.mark.parametrize(("long", "times"), [(0.0, 1), (3600.0, 0)])
def test_memory_is_given_back_after_long_epochs_and_their_validations(tmp_path, index, small, monkeypatch, long, times):
    happened = []
    monkeypatch.setattr(loop, "LONG", long)
    monkeypatch.setattr(loop, "give_back_memory", lambda: happened.append("given back"))
    for name in ("train_epoch", "validate"):

        def noted(session, _call=getattr(loop, name), name=name):
            happened.append(name)
            return _call(session)

        monkeypatch.setattr(loop, name, noted)
    fit(index, small.override({"epochs": 2}), tmp_path / "run")
    assert happened == ["train_epoch", *["given back"] * times, "validate", *["given back"] * times] * 2


def test_members_train_one_after_the_other(tmp_path, index, small, monkeypatch, capsys):
    """Each from small pictures to whole ones and from the whole rate to none; a finished one is left as it is."""
    sides, moments = [], []
    side_at, rates = loop.side_at, loop.rates
    monkeypatch.setattr(loop, "side_at", lambda *given: sides.append(side_at(*given)) or sides[-1])
    monkeypatch.setattr(loop, "rates", lambda session, moment: moments.append(moment) or rates(session, moment))
    seen = []

    def remember(row):
        folder = tmp_path / "run" / "checkpoints"
        seen.append(load_file(checkpoints(folder)[-1]))

    recipe = small.override({"model": "speednet(width=0.25, members=2)", "grow": 0.5, "epochs": 4, "validation": 0.0})
    classifier, _ = fit(index, recipe, tmp_path / "run", on_epoch=remember, progress=Lines())
    said = [line.split(" | ")[1] for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    assert said == [*["network 1 of 2"] * 2, *["network 2 of 2"] * 2]
    half = len(sides) // 2
    assert sides[:half] == sides[half:] == sorted(sides[:half]) and sides[0] < sides[-1]
    assert sum(later < earlier for earlier, later in itertools.pairwise(moments)) == 1
    weight = "network.members.{}.blocks.0.conv2.weight"
    assert torch.equal(seen[1][weight.format(0)], seen[3][weight.format(0)])
    assert not torch.equal(seen[1][weight.format(1)], seen[3][weight.format(1)])
    assert torch.equal(seen[0][weight.format(1)], seen[1][weight.format(1)])
    assert list(classifier.pipeline.network.head.answering) == [0, 1]


def test_the_last_member_answers_though_time_ends_just_after_a_step(tmp_path, index, small, monkeypatch):
    """The clock passes the end while the pictures of validation are scored."""

    class Clock:
        share = 0.99

        def progress(self, updates):
            return self.share

    def slow(session):
        figures = validate(session)
        Clock.share = 1.0
        return figures

    validate = loop.validate
    monkeypatch.setattr(loop, "validate", slow)
    monkeypatch.setattr("shoebox.training.fit.TimeClock", lambda *_: Clock())
    recipe = small.override({"model": "speednet(width=0.25, members=2)", "epochs": None, "minutes": 5})
    classifier, _ = fit(index, recipe, tmp_path / "run")
    assert classifier.card["epochs"] == 2
    assert load_file(checkpoints(tmp_path / "run" / "checkpoints")[-1])["network.answering"] == 2


@pytest.mark.parametrize("settings", [{"patience": 2}, {"schedule": "plateau"}])
def test_members_are_not_stopped_by_validations_of_others(tmp_path, index, small, settings):
    with pytest.raises(UsageError, match="set members=1"):
        fit(index, small.override({"model": "speednet(members=2)", **settings}), tmp_path / "run")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ema": 0.9, "accumulate": 3, "optimizer": "muon"},
        {"ema": 0.9, "accumulate": 3, "optimizer": "muon", "model": "speednet(width=0.25, members=3)", "grow": 0.5},
    ],
    ids=["plain", "averaged", "in turn"],
)
def test_a_run_stopped_between_any_two_steps_ends_as_one_never_stopped(tmp_path, index, small, monkeypatch, settings):
    recipe = small.override({**settings, "epochs": 2})
    fit(index, recipe, tmp_path / "whole")
    steps, sessions, spent = 0, [], []
    update = loop.update

    def interrupted(session, batch):
        nonlocal steps
        if not sessions or sessions[-1] is not session:
            sessions.append(session)
            spent.append(session.state.elapsed)
        update(session, batch)
        steps += 1
        if steps % 4 == 0:
            session.stop.append(signal.SIGTERM)

    monkeypatch.setattr(loop, "update", interrupted)
    stops = 0
    while True:
        try:
            fit(index, recipe, tmp_path / "stopped", resume=True)
            break
        except Stopped as stopped:
            assert stopped.exit_code == 128 + signal.SIGTERM
            stops += 1
    assert stops >= 2
    assert all(before < after for before, after in itertools.pairwise(spent)), "seconds before a stop count"
    assert weights(tmp_path / "whole") == weights(tmp_path / "stopped")
    whole, resumed = (pd.read_csv(tmp_path / name / "history.csv") for name in ("whole", "stopped"))
    same = [c for c in whole if c not in ("seconds", "pictures_per_second")]
    pd.testing.assert_frame_equal(whole[same], resumed[same])


def test_sigint_saves_and_says_how_to_go_on(tmp_path, index, small):
    def interrupt(row):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped, match="--resume") as stopped:
        fit(index, small.override({"epochs": 10_000, "validation": 0.0}), tmp_path / "run", on_epoch=interrupt)
    assert stopped.value.exit_code == 130
    assert checkpoints(tmp_path / "run" / "checkpoints")


def test_a_damaged_newest_checkpoint_is_passed_over(tmp_path, index, small):
    fit(index, small, tmp_path / "whole")
    fit(index, small.override({"epochs": 2}), tmp_path / "run")
    newest = checkpoints(tmp_path / "run" / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:-3])
    lines = []

    class Said:
        def say(self, text):
            lines.append(text)

        def track(self, items, total=None, label=""):
            return iter(items)

    fit(index, small, tmp_path / "run", resume=True, progress=Said())
    assert any("trying the one before it" in line for line in lines)
    assert len(pd.read_csv(tmp_path / "run" / "history.csv")) == 3


def test_a_finished_run_is_not_overwritten(tmp_path, index, small):
    fit(index, small.override({"epochs": 1}), tmp_path / "run")
    with pytest.raises(UsageError, match="add --resume"):
        fit(index, small, tmp_path / "run")


def test_changed_settings_or_data_stop_a_resume_with_the_difference(tmp_path, index, small, make_picture):
    fit(index, small.override({"epochs": 1}), tmp_path / "run")
    with pytest.raises(UsageError, match=r"lr: 0\.003 → 0\.1"):
        fit(index, small.override({"lr": 0.1}), tmp_path / "run", resume=True)
    make_picture(index.root / index.paths[0], seed=99, size=(33, 7))
    with pytest.raises(UsageError, match="changed"):
        fit(index, small, tmp_path / "run", resume=True)


def test_one_class_and_a_read_only_output_are_refused_before_training(tmp_path, index, small, make_folder, monkeypatch):
    with pytest.raises(ShoeboxError, match="1 class"):
        fit(open_source(make_folder(tmp_path / "one", {"cat": 5})), small, tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        fit(index, small, tmp_path / "file" / "run")


def test_a_loss_that_is_not_finite_is_rolled_back_and_never_the_best(tmp_path, index, small, monkeypatch):
    update, calls = loop.update, 0

    def poisoned(session, batch):
        nonlocal calls
        calls += 1
        if calls == 8:
            with torch.no_grad():
                next(session.network.parameters()).fill_(math.nan)
        update(session, batch)

    monkeypatch.setattr(loop, "update", poisoned)
    classifier, _ = fit(index, small, tmp_path / "run")
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert np.isfinite(history["train_loss"]).all()
    assert all(torch.isfinite(p).all() for p in classifier.pipeline.parameters())
    assert history["lr"][1] < history["lr"][0]


def test_a_loss_that_stays_not_finite_ends_the_run_with_advice(tmp_path, index, small):
    with pytest.raises(ShoeboxError, match="try a smaller --set lr"):
        fit(index, small.override({"lr": 1e30, "optimizer": "sgd"}), tmp_path / "run")


def test_out_of_memory_names_a_batch_that_may_fit(tmp_path, index, small, monkeypatch):
    def full(session, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop, "update", full)
    with pytest.raises(ShoeboxError, match="batch_size=4"):
        fit(index, small, tmp_path / "run")
    assert checkpoints(tmp_path / "run" / "checkpoints")


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path, index, small, monkeypatch):
    from shoebox.training import fit as module

    fit(index, small.override({"epochs": 1}), tmp_path / "run")
    before = {p.name: p.read_bytes() for p in checkpoints(tmp_path / "run" / "checkpoints")}

    def full(folder, state, parts):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_checkpoint", full)
    with pytest.raises(OSError, match="No space left"):
        fit(index, small, tmp_path / "run", resume=True)
    assert {p.name: p.read_bytes() for p in checkpoints(tmp_path / "run" / "checkpoints")} == before


def test_time_ends_training_with_the_rate_near_zero(tmp_path, index, small):
    start = time.monotonic()
    recipe = small.override({"epochs": None, "minutes": 0.1, "schedule": "linear"})
    fit(index, recipe, tmp_path / "run", started=start, reserve=lambda pipeline, packed: 1.0)
    assert 4 < time.monotonic() - start < 9
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert history["lr"].iloc[-1] < 0.003 * 0.05


def test_what_follows_is_measured_once_training_is_under_way_and_is_no_part_of_it(tmp_path, index, small, monkeypatch):
    moments, measured = [], []
    update = loop.update

    def noted(session, batch):
        update(session, batch)
        moments.append((time.monotonic(), session.moment, session.clock))

    def reserve(pipeline, packed):
        assert pipeline.network.training
        measured.append(time.monotonic())
        time.sleep(1.0)
        return 3.0

    monkeypatch.setattr(loop, "update", noted)
    recipe = small.override({"epochs": None, "minutes": 0.2})
    fit(index, recipe, tmp_path / "run", reserve=reserve)
    assert len(measured) == 1
    before, after = ([m for m in moments if (m[0] > measured[0]) == late] for late in (False, True))
    assert before[-1][1] < 0.15
    assert after[0][0] - before[-1][0] >= 1.0
    assert after[0][1] - before[-1][1] < 0.1  # with the second that passed it would be more
    first, last = before[0][2], after[-1][2]
    assert first.end - last.end == pytest.approx(3.0)
    assert last.start - first.start == pytest.approx(1.0, abs=0.3)
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert history["lr"].iloc[-1] < 0.003 * 0.05
    # What was killed after its training, and goes on, trains no more.
    steps = len(moments)
    fit(index, recipe, tmp_path / "run", resume=True, reserve=lambda pipeline, packed: 12.0)
    assert len(moments) == steps


def test_given_minutes_are_not_spent_on_validations(tmp_path, index, small, monkeypatch):
    monkeypatch.setattr(loop, "VALIDATING", 0.0)
    recipe = small.override({"epochs": None, "minutes": 0.05})
    classifier, _ = fit(index, recipe, tmp_path / "run")
    measured = pd.read_csv(tmp_path / "run" / "history.csv")["val_loss"].notna()
    assert len(measured) > 3
    assert list(np.flatnonzero(measured)) == [0, len(measured) - 1]
    assert classifier.card["best_epoch"] in (1, len(measured))
    asked = recipe.override({"accuracy": 1.0, "minutes": 0.02})
    fit(index, asked, tmp_path / "accuracy")
    assert pd.read_csv(tmp_path / "accuracy" / "history.csv")["val_loss"].notna().all()


def test_a_run_that_was_killed_between_validations_ends_with_one(tmp_path, index, small, monkeypatch):
    monkeypatch.setattr(loop, "VALIDATING", 0.0)
    recipe = small.override({"epochs": None, "minutes": 1.0})

    class Killed(Exception):
        pass

    def kill(row):
        if row["epoch"] == 3:
            raise Killed

    with pytest.raises(Killed):
        fit(index, recipe, tmp_path / "run", on_epoch=kill)
    before = pd.read_csv(tmp_path / "run" / "history.csv")
    assert before["val_loss"].isna().iloc[-1]
    fit(index, recipe, tmp_path / "run", resume=True, started=time.monotonic() - 100)
    after = pd.read_csv(tmp_path / "run" / "history.csv")
    assert len(after) == 4
    assert after["val_loss"].notna().iloc[-1]
    assert after["lr"].iloc[-1] == 0


def test_stopping_early_by_accuracy_and_by_patience(tmp_path, index, small):
    reached, _ = fit(index, small.override({"epochs": 50, "accuracy": 0.1}), tmp_path / "accuracy")
    assert reached.card["epochs"] == 1
    bored, _ = fit(index, small.override({"epochs": 50, "patience": 2, "lr": 1e-12}), tmp_path / "patience")
    assert bored.card["epochs"] <= 5


def test_without_validation_nothing_is_selected(tmp_path, make_folder, small):
    data = make_folder(tmp_path / "data", {"train/cat": 20, "train/dog": 20, "test/cat": 5, "test/dog": 5})
    classifier, packed = fit(open_source(data), small.override({"validation": 0.0}), tmp_path / "run")
    assert (packed.index.part == "train").sum() == 40
    assert classifier.card["best_epoch"] == 3
    assert classifier.card["val"] == {}


def test_balanced_sampling_and_weights_help_the_rare_class(tmp_path, make_folder, small):
    index = open_source(make_folder(tmp_path / "data", {"cat": 60, "dog": 6}))
    for settings in ({"sampling": "balanced"}, {"class_weights": "balanced"}):
        recipe = small.override({**settings, "epochs": 2})
        classifier, _ = fit(index, recipe, tmp_path / next(iter(settings)))
        assert classifier.card["val"]["accuracy"] >= 0


def test_mean_and_std_can_be_measured_on_the_data(tmp_path, index, small):
    classifier, packed = fit(index, small.override({"normalise": "data", "epochs": 1}), tmp_path / "run")
    train = packed.gather(np.flatnonzero(packed.index.part == "train")).reshape(-1, 3) / 255
    assert classifier.preprocess.mean == pytest.approx(train.mean(0), abs=1e-4)
    assert classifier.preprocess.std == pytest.approx(train.std(0), abs=1e-4)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["preprocess"]["mean"] == list(
        classifier.preprocess.mean
    )
