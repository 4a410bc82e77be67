"""The planner: fills in what a recipe leaves open, from the data and the machine, and says what it decided.

In: a recipe, the pictures' index, the runtime. Out: the resolved recipe, in which nothing is left to decide, the
preprocessing, and lines for the person.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from shoebox.base.errors import UsageError
from shoebox.base.recipe import Recipe
from shoebox.base.registry import parse_spec
from shoebox.base.runtime import derive_seed
from shoebox.data.index import ImageIndex
from shoebox.data.picture import Unreadable, decode
from shoebox.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Interpolation, Preprocess, mirrors, translates
from shoebox.models import MODELS, expected_input, find_architecture, guess_architecture
from shoebox.models.hub import FOLDERS, fetch_weights
from shoebox.models.pretrained import Preferred
from shoebox.training.optimizer import DEFAULT_LR

SIDES = (16, 24, 32, 48, 64, 96, 128)
"""Sides a network from scratch is given by default, px; beyond the last, a picture costs more than it teaches."""


MUON_BATCH = 2000
"""Pictures a step for which muon's usual rate is meant (the speed records')."""
FINE_TUNING, FINE_TUNING_LR = "adamw(deeper=0.9)", 5e-4
"""How pretrained weights are moved where a recipe leaves it open."""


@dataclass(frozen=True)
class Plan:
    """A recipe with nothing left open, and how pictures are prepared for it."""

    recipe: Recipe
    preprocess: Preprocess


def plan(recipe: Recipe, index: ImageIndex) -> Plan:
    """Decide picture size, augmentation, optimizer, batch and epochs where the recipe leaves them open.

    Args:
        index: split; only the training part is looked at, and of it the sides of at most 64 files.
    """
    train = index.only("train")
    model = recipe.model or (guess_architecture(Path(recipe.weights)) if recipe.weights else "speednet")
    found = None if parse_spec(model)[0] in MODELS else find_architecture(parse_spec(model)[0])
    pretrained = found is not None and (recipe.pretrained or recipe.weights is not None)
    if found and pretrained and recipe.weights is None and found[0] in FOLDERS:
        fetch_weights(*found)  # what pictures they expect is said by a file beside them
    expected = expected_input(*found) if found else Preferred(usual_side(train), IMAGENET_MEAN, IMAGENET_STD, "bicubic")
    size = recipe.size or expected.size
    engine = ("transfer" if pretrained else "loop") if recipe.engine == "auto" else recipe.engine
    if engine == "transfer" and not pretrained:
        raise UsageError(f"engine=transfer starts from trained weights, and {model} has none here: give --weights")
    augment = recipe.augment if recipe.augment is not None else usual_augment(size, pretrained)
    preprocess = Preprocess(
        store=recipe.store or (min(size, own_side(train)) if engine == "transfer" else size),
        size=size,
        fit=recipe.fit,
        interpolation=recipe.interpolation or cast(Interpolation, expected.interpolation),
        mean=expected.mean,
        std=expected.std,
        mirror=recipe.mirror and mirrors(augment),
        shift=recipe.shift and translates(augment),
    )
    optimizer = recipe.optimizer or (FINE_TUNING if pretrained else "muon" if model.startswith("speednet") else "adam")
    kind = optimizer.partition("(")[0]
    trainable = recipe.trainable if recipe.trainable is not None or engine == "transfer" else "all"
    batch = recipe.batch_size or batch_size(len(train), size, pretrained)
    resolved = recipe.override(
        {
            "model": model,
            "engine": engine,
            "trainable": trainable,
            "size": size,
            "store": preprocess.store,
            "interpolation": preprocess.interpolation,
            "augment": augment,
            "optimizer": optimizer,
            "lr": recipe.lr or (FINE_TUNING_LR if optimizer == FINE_TUNING else usual_lr(kind, batch)),
            "weight_decay": recipe.weight_decay if recipe.weight_decay is not None else 0.0,
            "batch_size": batch,
            "epochs": recipe.epochs
            or (None if recipe.minutes and engine == "loop" else usual_epochs(len(train), pretrained)),
        }
    )
    return Plan(resolved, preprocess)


def usual_side(index: ImageIndex) -> int:
    """The largest of `SIDES` that is not above the median shorter side of a sample of the pictures, px."""
    shorter = [min(sides) for sides in sample_of_sides(index)]
    median = float(np.median(shorter)) if shorter else SIDES[-1]
    return max((side for side in SIDES if side <= median), default=SIDES[0])


def own_side(index: ImageIndex) -> int:
    """The side of the square that keeps what a middling picture shows, px: its mean side, up to a multiple of 32."""
    means = [math.sqrt(height * width) for height, width in sample_of_sides(index)]
    middle = float(np.median(means)) if means else SIDES[-1]
    return round(middle) if middle < 32 else 32 * math.ceil(middle / 32 - 0.05)


def sample_of_sides(index: ImageIndex) -> list[tuple[int, int]]:
    """(height, width) of at most 64 of the pictures, px."""
    draw = np.random.default_rng(derive_seed("sides", len(index))).permutation(len(index))[:64]
    sides = []
    for row in draw:
        try:
            height, width = decode(index.file(int(row))).shape[:2]
            sides.append((height, width))
        except Unreadable:
            continue
    return sides


def usual_augment(size: int, pretrained: bool) -> tuple[str, ...]:
    """Small pictures are flipped and shifted; larger ones also cropped at random sizes, gently before a fine-tuning."""
    if size <= 48 and not pretrained:
        return ("flip_alternating", f"translate(pixels={max(1, size // 16)})")
    return (f"random_resized_crop(scale_low={0.6 if pretrained else 0.35})", "flip")


def usual_epochs(pictures: int, pretrained: bool) -> int:
    """Enough passes for about 500,000 pictures seen (a tenth of that before a fine-tuning), within 10 to 60."""
    return int(np.clip(round((50_000 if pretrained else 500_000) / max(pictures, 1)), 5 if pretrained else 10, 60))


def usual_lr(optimizer: str, batch: int) -> float:
    """Muon's steps have one length however noisy the gradient is, so its rate follows the root of the batch."""
    lr = DEFAULT_LR.get(optimizer, 1e-3)
    return round(lr * math.sqrt(batch / MUON_BATCH), 3) if optimizer == "muon" else lr


def batch_size(pictures: int, size: int, pretrained: bool) -> int:
    """512 small pictures a step, 128 large ones; fine-tuning 64 or 32; fewer where an epoch had under 20 steps."""
    largest = (64 if size <= 128 else 32) if pretrained else 512 if size <= 48 else 128
    while largest > 16 and pictures < 20 * largest:
        largest //= 2
    return largest
