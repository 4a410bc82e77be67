"""TrainState: all that changes while training, saved so that a resumed run ends as one never stopped.

A checkpoint is one safetensors file: weights, averaged weights and optimizer state as tensors, everything else as JSON
in its metadata beside a checksum. It is written atomically and named by its step, so that "the latest" never depends
on a clock; a damaged one is passed over for the one before it. Random draws need no saving: each depends only on
(seed, epoch, step).
"""

import json
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shoebox.base.errors import ShoeboxError
from shoebox.base.files import atomic_write


@dataclass
class TrainState:
    """Where a run is.

    Attributes:
        epoch: epochs completed.
        step: batches done within the current epoch; 0 between epochs.
        updates: batches done in all.
        elapsed: seconds of the run so far, over all its processes.
        best_epoch, best_value: by the monitor; 0 and None before the first validation.
        stale: epochs since the best.
        rate: multiplies the schedule; a plateau or a roll-back lowers it.
        rollbacks: how often a loss that was not finite sent the run back.
        history: one row an epoch.
    """

    epoch: int = 0
    step: int = 0
    updates: int = 0
    elapsed: float = 0.0
    best_epoch: int = 0
    best_value: float | None = None
    stale: int = 0
    rate: float = 1.0
    rollbacks: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Parts:
    """The tensors a checkpoint holds.

    Attributes:
        network: what trains.
        optimizer: moves it.
        average: averaged weights, if the recipe asks for them.
        seen: of an epoch under way, the training logits and labels that its figures will be made of.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: nn.Module | None
    seen: dict[str, list[Tensor]]


def save_checkpoint(folder: Path, state: TrainState, parts: Parts) -> Path:
    """Write `folder/step-NNNNNNNNN.safetensors`.

    Raises:
        OSError: the disk is full or gone; older checkpoints are untouched.
    """
    from safetensors.torch import save

    tensors = {f"network.{k}": v for k, v in parts.network.state_dict().items()}
    if parts.average is not None:
        tensors |= {f"average.{k}": v for k, v in parts.average.state_dict().items()}
    for index, values in parts.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in values.items() if isinstance(v, Tensor)}
    tensors |= {f"seen.{k}": torch.cat(v) for k, v in parts.seen.items() if v}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = {"state": json.dumps(asdict(state)), "checksum": _checksum(tensors)}
    path = folder / f"step-{state.updates:09d}.safetensors"
    with atomic_write(path) as file:
        file.write(save(tensors, metadata))
    return path


def load_checkpoint(path: Path, parts: Parts) -> TrainState:
    """Read a checkpoint into `parts`, in place, and give its state.

    Raises:
        ShoeboxError: the file is damaged, or of another network.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get("checksum") != _checksum(tensors):
            raise ShoeboxError(f"the checkpoint {path} is damaged: its checksum does not match")
        state = TrainState(**json.loads(metadata["state"]))
        parts.network.load_state_dict(_under("network.", tensors))
        if parts.average is not None:
            parts.average.load_state_dict(_under("average.", tensors))
        _load_optimizer(parts.optimizer, _under("optimizer.", tensors))
    except (SafetensorError, OSError, RuntimeError, KeyError, TypeError, ValueError) as e:
        raise ShoeboxError(f"the checkpoint {path} cannot be read: {str(e).splitlines()[0]}") from e
    for name, tensor in _under("seen.", tensors).items():
        parts.seen[name] = [tensor]
    return state


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest step first."""
    return sorted(folder.glob("step-*.safetensors"))


def prune(folder: Path, keep: int, best: Path | None) -> None:
    """Delete all but the newest `keep` checkpoints and the best."""
    for path in checkpoints(folder)[:-keep]:
        if path != best:
            path.unlink()


def peek(path: Path) -> dict[str, Any]:
    """The state in a checkpoint's metadata, without its tensors."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        state: dict[str, Any] = json.loads(file.metadata()["state"])
    return state


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    values: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        values.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": values, "param_groups": optimizer.state_dict()["param_groups"]})
    # Sums run in the order of memory, so a momentum must lie in memory as its parameter does to stay equal bit for bit.
    for parameter, entries in optimizer.state.items():
        for key, value in entries.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                entries[key] = torch.empty_like(parameter).copy_(value)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _checksum(tensors: dict[str, Tensor]) -> str:
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(tensors[name].flatten().view(torch.uint8).numpy().tobytes(), zlib.crc32(name.encode(), crc))
    return f"{crc:08x}"
