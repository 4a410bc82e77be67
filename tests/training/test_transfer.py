"""Transfer learning as a run: the probe first, then fine-tuning; stopped anywhere, resumed, mended, kept or not."""

import signal

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from shoebox.base.recipe import Recipe
from shoebox.classifier import Classifier
from shoebox.data.sources import open_source
from shoebox.evaluation.metrics import measure
from shoebox.models.architectures import plain_model
from shoebox.training import loop
from shoebox.training.fit import fit
from shoebox.training.loop import Stopped
from shoebox.training.train import train

CNN = "timm:test_resnet"
FAMILIES = [
    (CNN, 32),
    ("timm:test_efficientnet", 32),
    ("timm:test_convnext", 64),
    ("timm:test_vit", 32),
    ("torchvision:squeezenet1_1", 64),
    pytest.param("torchvision:mobilenet_v2", 64, marks=pytest.mark.slow),
    pytest.param("timm:mobilenetv3_small_050", 64, marks=pytest.mark.slow),
    pytest.param("timm:swin_tiny_patch4_window7_224", 112, marks=pytest.mark.slow),
    pytest.param("timm:inception_resnet_v2", 96, marks=pytest.mark.slow),
]


class Said:
    """A progress that keeps what was said."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)

    def track(self, items, total=None, label=""):
        return iter(items)

    @property
    def text(self):
        return "\n".join(self.lines)


@pytest.fixture
def index(tmp_path, make_folder):
    return open_source(make_folder(tmp_path / "data", {"cat": 30, "dog": 30}))


@pytest.fixture
def recipe_for(tmp_path):
    """recipe_for(spec, size, …): a transfer recipe with weights of that network in a file, drawn from a fixed seed."""

    def make(spec=CNN, size=32, **settings):
        source, _, name = spec.partition(":")
        torch.manual_seed(0)
        file = tmp_path / f"{name}.safetensors"
        save_file({k: v.clone() for k, v in plain_model(source, name, 7).state_dict().items()}, file)
        given = {"model": spec, "weights": str(file), "size": size, "batch_size": 8, "precision": "fp32", "epochs": 3}
        return Recipe.load("transfer").override({**given, "tensorboard": False, **settings})

    return make


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def test_the_probe_is_the_first_epoch_and_a_saved_classifier(tmp_path, index, recipe_for):
    rows, said, sizes = [], Said(), []

    def note(row):
        rows.append(row)
        sizes.append(Classifier.load(tmp_path / "run").score(packed_of(index), np.arange(4), "").logits.shape)

    def packed_of(index):
        from shoebox.data.pack import pack

        return pack(index, Classifier.load(tmp_path / "run").preprocess)

    fit(index, recipe_for(), tmp_path / "run", progress=said, on_epoch=note)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert sizes == [(4, 2)] * 3, "a classifier can be used from the first epoch on"
    assert rows[0]["lr"] == 0 and rows[1]["lr"] > 0
    assert rows[0]["cv_spread"] >= 0
    assert "probe | val accuracy" in said.text
    assert sum(line.startswith("plan: ") for line in said.lines) == 3
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert list(history["epoch"]) == [1, 2, 3]
    assert "cross_validation" in Classifier.load(tmp_path / "run").card


@pytest.mark.parametrize("settings", [{"trainable": "all"}, {"trainable": 2, "views": 0}, {"trainable": 2, "views": 2}])
def test_a_run_stopped_between_any_two_steps_ends_as_one_never_stopped(
    tmp_path, index, recipe_for, monkeypatch, settings
):
    recipe = recipe_for(**settings)
    fit(index, recipe, tmp_path / "whole", cache=tmp_path / "one")
    steps, update = 0, loop.update

    def interrupted(session, batch):
        nonlocal steps
        update(session, batch)
        steps += 1
        if steps % 5 == 0:
            session.stop.append(signal.SIGTERM)

    monkeypatch.setattr(loop, "update", interrupted)
    stops = 0
    while True:
        try:
            # Each process a cache of its own: nothing may hang on what an earlier one has kept.
            fit(index, recipe, tmp_path / "stopped", cache=tmp_path / f"two{stops}", resume=True)
            break
        except Stopped:
            stops += 1
    assert stops >= 2
    assert weights(tmp_path / "whole") == weights(tmp_path / "stopped")
    whole, resumed = (pd.read_csv(tmp_path / name / "history.csv") for name in ("whole", "stopped"))
    same = [c for c in whole if c not in ("seconds", "pictures_per_second")]
    pd.testing.assert_frame_equal(whole[same], resumed[same])


def test_a_run_killed_after_its_probe_and_after_an_epoch_ends_as_one_never_killed(
    tmp_path, index, recipe_for, monkeypatch
):
    fit(index, recipe_for(), tmp_path / "whole")

    class Killed(BaseException):
        pass

    def kill(row):
        raise Killed

    for _ in range(2):  # at the probe's row, then at that of the first pass
        with pytest.raises(Killed):
            fit(index, recipe_for(), tmp_path / "killed", resume=True, on_epoch=kill)
    fit(index, recipe_for(), tmp_path / "killed", resume=True)
    assert weights(tmp_path / "whole") == weights(tmp_path / "killed")


def test_what_the_plan_decided_holds_for_a_resumed_run(tmp_path, index, recipe_for, monkeypatch):
    """Everything left open: depth, looks, passes, augmentation and arithmetic are measured once and written down."""
    recipe = recipe_for(size=None, epochs=None, precision="auto", batch_size=None)
    update = loop.update

    def stopping(session, batch):
        update(session, batch)
        session.stop.append(signal.SIGTERM)

    monkeypatch.setattr(loop, "update", stopping)
    with pytest.raises(Stopped):
        fit(index, recipe, tmp_path / "run")
    planned = Recipe.load(tmp_path / "run" / "recipe.yaml")
    monkeypatch.setattr(loop, "update", update)
    said = Said()
    fit(index, recipe, tmp_path / "run", resume=True, progress=said)
    assert Recipe.load(tmp_path / "run" / "recipe.yaml") == planned
    assert "plan: " not in said.text
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert 2 <= len(history) <= planned.epochs <= 13
    assert history["lr"].iloc[-1] < history["lr"].max()


@pytest.mark.parametrize(("spec", "size"), FAMILIES)
@pytest.mark.parametrize("trainable", ["head", 2])
def test_what_training_saw_is_what_is_used(tmp_path, make_folder, recipe_for, spec, size, trainable):
    """Parity for every family: the last validation of the run is that of the saved classifier, on the files."""
    data = open_source(make_folder(tmp_path / "data", {"cat": 12, "dog": 12}))
    recipe = recipe_for(spec, size, trainable=trainable, epochs=2, ema=None, validation=0.5, test=0.0)
    rows = []
    _, packed = fit(data, recipe, tmp_path / "run", on_epoch=rows.append)
    classifier = Classifier.load(tmp_path / "run")
    val = packed.index.only("val")
    table = classifier.predict([val.file(row) for row in range(len(val))])
    assert (table["status"] == "ok").all()
    scored = classifier.score(packed, np.flatnonzero(packed.index.part == "val"), "val")
    assert [classifier.classes[k] for k in scored.logits.argmax(1)] == list(table["label"])
    best = rows[classifier.card["best_epoch"] - 1]
    assert measure(scored.labels, scored.logits)["loss"] == pytest.approx(best["val_loss"], rel=0.03, abs=0.02)


def test_what_is_frozen_is_not_touched_and_what_trains_is(tmp_path, index, recipe_for):
    recipe = recipe_for(trainable=2, validation=0.0, lr=0.01)
    before = load_file(recipe.weights)
    fit(index, recipe, tmp_path / "run")
    after = load_file(tmp_path / "run" / "model.safetensors")
    body = {name.partition("body.")[2]: value for name, value in after.items() if "body." in name}
    changed = {name for name, value in body.items() if not torch.equal(value, before[name])}
    assert changed, "two stages train"
    assert {name.split(".")[0] for name in changed} == {"layer3", "layer4"}
    assert not any("running" in name for name in changed), "batch norms keep the statistics of the weights"


def test_a_probe_that_fine_tuning_does_not_beat_is_kept(tmp_path, index, recipe_for):
    fit(index, recipe_for(epochs=1), tmp_path / "probe")
    said = Said()
    fit(index, recipe_for(epochs=3, lr=1.0), tmp_path / "run", progress=said)
    assert "did not beat the probe" in said.text and "the probe is kept" in said.text
    assert Classifier.load(tmp_path / "run").card["best_epoch"] == 1
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("probe", "run"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_labels_of_validation_decide_nothing_about_the_probe(tmp_path, index, recipe_for):
    """The same run with the validation labels turned round: the same head, bit for bit."""
    from shoebox.data.split import split

    recipe = recipe_for(epochs=1)
    divided = split(index, validation=0.3, test=0.0, seed=0)
    turned = np.where(divided.part == "val", 1 - divided.labels, divided.labels)
    fit(divided, recipe, tmp_path / "one")
    other = divided.take(np.arange(len(divided)))
    object.__setattr__(other, "labels", turned)
    fit(other, recipe, tmp_path / "two")
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    kept = [name for name in one if "temperature" not in name]
    assert any("head" in name for name in kept)
    assert all(torch.equal(one[name], two[name]) for name in kept)


def test_a_second_run_computes_no_features(tmp_path, index, recipe_for, monkeypatch):
    recipe = recipe_for(epochs=1)
    fit(index, recipe, tmp_path / "one")
    monkeypatch.setattr("shoebox.training.features.Trunk.__call__", lambda *_: pytest.fail("computed features"))
    said = Said()
    fit(index, recipe, tmp_path / "two", progress=said)
    assert "in the cache already" in said.text
    assert weights(tmp_path / "one") == weights(tmp_path / "two")


def test_five_pictures_a_class_are_scored_by_repeated_cross_validation(tmp_path, make_folder, recipe_for):
    data = open_source(make_folder(tmp_path / "data", {"cat": 5, "dog": 5, "emu": 5}))
    said = Said()
    fit(data, recipe_for(epochs=2), tmp_path / "run", progress=said)
    assert "few pictures: 5 × 5-fold cross-validation" in said.text
    figures = Classifier.load(tmp_path / "run").card["cross_validation"]
    assert 0 <= figures["accuracy"] <= 1 and figures["spread"] >= 0


@pytest.mark.slow
def test_minutes_end_on_time_and_the_plan_says_so(tmp_path, index, recipe_for):
    said = Said()
    done = train(index, recipe_for(epochs=None, minutes=0.25), run=tmp_path / "run", progress=said)
    assert 0.25 * 60 * 0.7 <= done.result["seconds"] <= 0.25 * 60 * 1.15
    assert "the rate falling to 0 on time" in said.text
    assert done.result["epochs"] > 1


@pytest.mark.parametrize("name", ["scene-resnet", "finetune-resnet18", "transfer-frozen"])
def test_the_recipes_of_the_field_run_through_this_engine(tmp_path, index, recipe_for, name):
    """What they describe stays theirs: what trains, the optimizer, the schedule, the patience."""
    given = recipe_for(epochs=2).model_dump(include={"model", "weights", "size", "batch_size", "precision", "epochs"})
    recipe = Recipe.load(name)
    said = Said()
    classifier, _ = fit(index, recipe.override({**given, "tensorboard": False}), tmp_path / "run", progress=said)
    assert "probe | " in said.text and "fine-tuning" in said.text
    kept = Recipe.load(tmp_path / "run" / "recipe.yaml")
    for field in ("trainable", "optimizer", "lr", "schedule", "patience", "augment", "label_smoothing"):
        assert getattr(kept, field) == getattr(recipe, field), field
    assert kept.engine == "transfer" and classifier.card["epochs"] == 2
