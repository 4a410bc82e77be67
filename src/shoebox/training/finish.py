"""The end of a run: the best epoch's weights become the saved classifier."""

from __future__ import annotations

from pathlib import Path

import torch

from shoebox.base.runtime import Runtime
from shoebox.classifier import Classifier
from shoebox.models import Network, Pretrained
from shoebox.training.planner import Plan
from shoebox.training.session import Session
from shoebox.training.state import TrainState, checkpoints, load_checkpoint, peek


def finish(session: Session, made: Plan, folder: Path, data: str) -> Classifier:
    """Take the best epoch's weights and save the classifier; `data` is the fingerprint of the pictures."""
    state, parts = session.state, session.parts
    best = best_checkpoint(folder / "checkpoints", state.best_epoch)
    if best is not None and state.best_epoch != state.epoch:
        load_checkpoint(best, parts)
    network = (
        parts.average.module if isinstance(parts.average, torch.optim.swa_utils.AveragedModel) else session.network
    )
    assert isinstance(network, Network)
    return save_classifier(
        session.mend(network), made, folder, state, data, session.packed.index.classes, session.runtime
    )


def save_classifier(
    network: Network,
    made: Plan,
    folder: Path,
    state: TrainState,
    data: str,
    classes: tuple[str, ...],
    runtime: Runtime,
) -> Classifier:
    """Save a network as the run's classifier, its card filled in from the best epoch."""
    row = state.history[state.best_epoch - 1]
    card = {
        "name": folder.name,
        "recipe": made.recipe.model_dump(mode="json"),
        "data": data,
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "val": {key.removeprefix("val_"): value for key, value in row.items() if key.startswith("val_")},
        "runtime": runtime.reason,
    }
    if "cv_accuracy" in state.history[0]:
        first = state.history[0]
        card["cross_validation"] = {"accuracy": first["cv_accuracy"], "spread": first["cv_spread"]}
    spec = network.spec if isinstance(network, Pretrained) else made.recipe.model or "speednet"
    classifier = Classifier(spec, network, classes, made.preprocess, card, runtime.device)
    classifier.save(folder)
    return classifier


def best_checkpoint(store: Path, epoch: int) -> Path | None:
    """The checkpoint written after `epoch`, if it is still there."""
    for path in checkpoints(store):
        state = peek(path)
        if state["epoch"] == epoch and state["step"] == 0:
            return path
    return None
