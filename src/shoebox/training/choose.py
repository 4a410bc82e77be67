"""Which recipe, where nobody named one: transfer learning wherever trained weights can be had, else from scratch.

In: the settings a person gave. Out: a recipe with them in it. It never waits: weights on this disk are taken; else a
server is asked, and one that does not answer within seconds is done without.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shoebox.base.errors import ShoeboxError
from shoebox.base.progress import Progress
from shoebox.base.recipe import Recipe
from shoebox.base.registry import parse_spec
from shoebox.base.runtime import choose_device
from shoebox.models import MODELS, fetch_backbone, find_architecture, guess_architecture, usual_backbone


def recipe_of(folder: Path, settings: Mapping[str, Any]) -> Recipe:
    """The recipe that the run in `folder` was started with, for going on with it."""
    recipe = Recipe.load(folder / "recipe.yaml")
    if {"epochs", "minutes"} & settings.keys():
        recipe = recipe.override({"epochs": None, "minutes": None})
    return recipe.override(dict(settings))


def choose_recipe(settings: Mapping[str, Any], device: str, progress: Progress) -> Recipe:
    """The recipe `transfer` where trained weights are named or can be had, else `fast`; with the settings in it.

    Args:
        settings: fields of the recipe; `model`, `weights`, `pretrained` and `engine` decide.
        device: as a person names it.

    Raises:
        UsageError: a setting is wrong, or no known network has the tensors of `weights`.
    """
    model, weights = settings.get("model"), settings.get("weights")
    scratch = Recipe.load("fast").override(dict(settings))
    if settings.get("pretrained") is False or settings.get("engine") == "loop":
        return scratch
    if model or weights:
        name = parse_spec(str(model or guess_architecture(Path(str(weights)))))[0]
        transfers = name not in MODELS and find_architecture(name) is not None
        return Recipe.load("transfer").override(dict(settings)) if transfers else scratch
    backbone = usual_backbone(choose_device(device))
    try:
        fetch_backbone(backbone, progress)
    except ShoeboxError:
        progress.say(
            "no pretrained weights are on this disk and none can be fetched, so speednet is trained from scratch; with "
            "--weights FILE.safetensors a classifier is usually better and sooner there"
        )
        return scratch
    return Recipe.load("transfer").override({"model": backbone, **settings})
