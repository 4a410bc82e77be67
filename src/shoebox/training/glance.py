"""A network that has only glanced at the pictures: trained so briefly that it has learnt no wrong label by heart.

In: labelled pictures. Out: features (N, D) of all of them. A network learns first what most pictures of a class have in
common, and single wrong labels long after (Arpit et al. 2017, arxiv.org/abs/1706.05394; Liu et al. 2020,
arxiv.org/abs/2007.00151): after five passes of speednet on CIFAR-10, the accuracy on the pictures it learns from and on
others is 0.81 alike.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shoebox.base.progress import QUIET, Progress
from shoebox.base.recipe import Recipe
from shoebox.base.runtime import choose_runtime
from shoebox.data.batches import batches
from shoebox.data.index import ImageIndex
from shoebox.data.pack import pack
from shoebox.training.budget import fit_to_time
from shoebox.training.fit import fit
from shoebox.training.planner import plan

PASSES = 4
SETTINGS: dict[str, Any] = {"tensorboard": False}
"""Of the recipe `fast`."""
SECONDS = 200.0
"""What the training may take; the network is as wide as that allows."""
BATCH = 128


def glance(
    index: ImageIndex, *, cache: Path | None = None, device: str = "auto", progress: Progress = QUIET
) -> NDArray[np.float32]:
    """Features of every picture.

    Args:
        index: labelled, readable pictures; enough of them that `PASSES` passes teach a network something.

    Raises:
        ShoeboxError: as `fit`.
    """
    whole = index.with_part(np.full(len(index), "train"))
    recipe = Recipe.load("fast").override({**SETTINGS, "epochs": PASSES, "validation": 0.0, "test": 0.0})
    made = plan(recipe, whole)
    packed = pack(whole, made.preprocess, cache=cache, progress=progress)
    runtime = choose_runtime(device, made.recipe.precision, halves=made.recipe.model == "speednet")
    if made.recipe.model == "speednet":
        made = fit_to_time(made, packed, runtime, SECONDS, progress, decided=PASSES)
    recipe = recipe.override({"model": made.recipe.model, "grow": made.recipe.grow})
    with tempfile.TemporaryDirectory() as folder:
        classifier, packed = fit(whole, recipe, Path(folder) / "run", cache=cache, device=device, progress=progress)
    stream = batches(packed, np.arange(len(packed)), batch_size=BATCH, device=runtime.device)
    pipeline = classifier.pipeline
    found = []
    with torch.inference_mode(), runtime.autocast():
        for batch in progress.track(stream, -(-len(packed) // BATCH), "features of that network"):
            found.append(pipeline.network.features(pipeline.inputs(batch.pictures)).float().cpu().numpy())
    return np.concatenate(found)
