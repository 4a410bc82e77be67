"""The planner: fills in what a recipe leaves open, from the data and the machine, and says what it decided.

In: a recipe, the pictures' index, the runtime. Out: the resolved recipe, in which nothing is left to decide, the
preprocessing, and lines for the person.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from shoebox.base.recipe import Recipe
from shoebox.base.registry import parse_spec
from shoebox.base.runtime import derive_seed
from shoebox.data.index import ImageIndex
from shoebox.data.picture import Unreadable, decode
from shoebox.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Interpolation, Preprocess
from shoebox.models import MODELS, expected_input, find_architecture, guess_architecture
from shoebox.models.pretrained import Preferred
from shoebox.training.optimizer import DEFAULT_LR

SIDES = (16, 24, 32, 48, 64, 96, 128)
"""Sides a network from scratch is given by default, px; beyond the last, a picture costs more than it teaches."""


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
    expected = expected_input(*found) if found else Preferred(usual_side(train), IMAGENET_MEAN, IMAGENET_STD, "bicubic")
    size = recipe.size or expected.size
    preprocess = Preprocess(
        store=recipe.store or size,
        size=size,
        fit=recipe.fit,
        interpolation=recipe.interpolation or cast(Interpolation, expected.interpolation),
        mean=expected.mean,
        std=expected.std,
    )
    optimizer = recipe.optimizer or ("adamw" if pretrained else "muon" if model.startswith("speednet") else "adam")
    kind = optimizer.partition("(")[0]
    batch = recipe.batch_size or batch_size(len(train), size, pretrained)
    resolved = recipe.override(
        {
            "model": model,
            "size": size,
            "store": preprocess.store,
            "interpolation": preprocess.interpolation,
            "augment": recipe.augment if recipe.augment is not None else usual_augment(size, pretrained),
            "optimizer": optimizer,
            "lr": recipe.lr or DEFAULT_LR.get(kind, 1e-3),
            "weight_decay": recipe.weight_decay if recipe.weight_decay is not None else 0.0,
            "batch_size": batch,
            "epochs": recipe.epochs or (None if recipe.minutes else usual_epochs(len(train), pretrained)),
        }
    )
    return Plan(resolved, preprocess)


def usual_side(index: ImageIndex) -> int:
    """The largest of `SIDES` that is not above the median shorter side of a sample of the pictures, px."""
    draw = np.random.default_rng(derive_seed("sides", len(index))).permutation(len(index))[:64]
    shorter = []
    for row in draw:
        try:
            shorter.append(min(decode(index.file(int(row))).shape[:2]))
        except Unreadable:
            continue
    median = float(np.median(shorter)) if shorter else SIDES[-1]
    return max((side for side in SIDES if side <= median), default=SIDES[0])


def usual_augment(size: int, pretrained: bool) -> tuple[str, ...]:
    """Small pictures are flipped and shifted; larger ones also cropped at random sizes, gently before a fine-tuning."""
    if size <= 48 and not pretrained:
        return ("flip_alternating", f"translate(pixels={max(1, size // 16)})")
    return (f"random_resized_crop(scale_low={0.6 if pretrained else 0.35})", "flip")


def usual_epochs(pictures: int, pretrained: bool) -> int:
    """Enough passes for about 500,000 pictures seen (a tenth of that before a fine-tuning), within 10 to 60."""
    return int(np.clip(round((50_000 if pretrained else 500_000) / max(pictures, 1)), 5 if pretrained else 10, 60))


def batch_size(pictures: int, size: int, pretrained: bool) -> int:
    """512 small pictures a step, 128 large ones, 32 when fine-tuning; fewer where an epoch had under 20 steps."""
    largest = 32 if pretrained else 512 if size <= 48 else 128
    while largest > 16 and pictures < 20 * largest:
        largest //= 2
    return largest
