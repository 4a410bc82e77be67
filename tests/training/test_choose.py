"""Which recipe a training takes where nobody named one."""

import time

import pytest
import torch
from safetensors.torch import save_file

from shoebox.base.recipe import Recipe
from shoebox.data.sources import open_source
from shoebox.models import PRETRAINED, backbones, hub, usual_backbone
from shoebox.models.architectures import plain_model
from shoebox.training.choose import choose_recipe, recipe_of
from shoebox.training.fit import fit


class Said:
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)

    def track(self, items, total=None, label=""):
        return iter(items)


@pytest.fixture
def said():
    return Said()


def test_without_weights_and_network_it_is_speednet_in_one_line_and_at_once(monkeypatch, said):
    began = time.monotonic()
    recipe = choose_recipe({}, "cpu", said)
    assert time.monotonic() - began < 5
    assert (recipe.engine, recipe.model, recipe.pretrained) == ("auto", None, False)
    assert len(said.lines) == 1 and "speednet is trained from scratch" in said.lines[0] and "\n" not in said.lines[0]
    # A network that is there but silent ends the same way.
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(hub, "_answers", lambda url: False)
    assert choose_recipe({}, "cpu", said) == recipe


def test_weights_or_a_backbone_mean_transfer_and_a_network_of_ours_does_not(tmp_path, said):
    torch.manual_seed(0)
    file = tmp_path / "squeezenet1_1.safetensors"
    save_file({k: v.clone() for k, v in plain_model("torchvision", "squeezenet1_1", 1000).state_dict().items()}, file)
    assert choose_recipe({"weights": str(file)}, "cpu", said).engine == "transfer"
    assert choose_recipe({"model": "timm:test_resnet"}, "cpu", said).pretrained
    for settings in ({"model": "simple(width=8)"}, {"model": "nothing"}, {"model": "test_resnet", "pretrained": False}):
        assert choose_recipe(settings, "cpu", said).engine == "auto"
    assert choose_recipe({"weights": str(file), "engine": "loop"}, "cpu", said).engine == "loop"
    assert not said.lines


def test_what_is_on_this_disk_is_preferred_and_suits_the_device(monkeypatch, said):
    light, heavy = PRETRAINED[1].name, PRETRAINED[8].name
    monkeypatch.setattr(backbones, "listed_on_disk", lambda name: name in (light, heavy))
    assert usual_backbone("cpu") == light
    assert usual_backbone("cuda") == heavy
    recipe = choose_recipe({"epochs": 3}, "cpu", said)
    assert (recipe.model, recipe.engine, recipe.epochs) == (light, "transfer", 3)


def test_fetching_is_said_once_a_server_has_answered(monkeypatch, said):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(hub, "_answers", lambda url: True)
    fetched = []
    monkeypatch.setattr(hub, "fetch_weights", lambda source, name: fetched.append((source, name)))
    assert choose_recipe({}, "cpu", said).model == backbones.FOR_CPU
    assert fetched == [tuple(backbones.FOR_CPU.split(":"))]
    assert said.lines == [f"fetching {backbones.FOR_CPU}, 14 MB, this once"]


def test_a_resumed_run_keeps_its_own_recipe(tmp_path, make_folder, small):
    data = make_folder(tmp_path / "data", {"cat": 20, "dog": 20})
    fit(open_source(data), small.override({"epochs": 1}), tmp_path / "run")
    kept = Recipe.load(tmp_path / "run" / "recipe.yaml")
    assert recipe_of(tmp_path / "run", {}) == kept
    assert recipe_of(tmp_path / "run", {"minutes": 2}).epochs is None
    assert recipe_of(tmp_path / "run", {"epochs": 2}) == kept.override({"epochs": 2})
