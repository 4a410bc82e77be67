"""Why this answer? Heat maps of where in a picture the evidence for a class lies.

In: a network with its preparation of pictures, uint8 pictures, and the class asked about for each. Out: heat maps of
the pictures' own size, 0…1.

Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) in the form of HiResCAM (Draelos and Carin 2020, arXiv:2011.08891):
activation times gradient, place by place, summed over channels, where positive. The two are the same wherever the head
averages over places; where it looks at single ones (a maximum, a class token), averaging the gradient first would lose
which place a class was seen in. The activation is the deepest that still has places: of a CNN, its last map of at least
`FINEST` places a side (or the finest there is); of a transformer, the last tokens of patches that the class score
depends on, laid out as the grid they came from.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from shoebox.base.errors import ShoeboxError
from shoebox.models import Network

FINEST = 4
"""Places a side that a map should have: fewer say little more than which quarter of the picture."""
MOST_PREFIX = 8
"""Tokens without a place (class, distillation, registers) that a transformer may put before those of the patches."""


class Prepared(Protocol):
    """A network and what it does to stored pixels first, as `shoebox.pipeline.Pipeline` has them."""

    network: Network

    def inputs(self, pictures: Tensor) -> Tensor:
        """uint8 (N, 3, S, S) to the network's float input (N, 3, size, size)."""


def heat_maps(
    prepared: Prepared, pictures: Tensor, classes: NDArray[np.int64], *, batch_size: int = 64
) -> NDArray[np.float32]:
    """Where in each picture the network sees what speaks for a class.

    Args:
        prepared: in evaluation mode, on any device; its weights and gradients are left as they are.
        pictures: (N, 3, S, S) uint8, as stored.
        classes: (N,) the class to explain for each picture, a position among the logits.

    Returns:
        (N, S, S) float32: 1 where the evidence is strongest, 0 where there is none; all 0 where nothing speaks for the
        class.

    Raises:
        ShoeboxError: the network has no activation with places (a plain multilayer perceptron).
    """
    maps = [np.empty((0, *pictures.shape[2:]), np.float32)]
    for start in range(0, len(pictures), batch_size):
        few = slice(start, start + batch_size)
        maps.append(_heat(prepared, pictures[few], torch.from_numpy(classes[few])))
    return np.concatenate(maps)


def _heat(prepared: Prepared, pictures: Tensor, classes: Tensor) -> NDArray[np.float32]:
    network = prepared.network
    device = next(network.parameters()).device
    with torch.inference_mode(False), torch.enable_grad(), _watched(network) as seen:
        x = prepared.inputs(pictures.to(device)).detach().clone().requires_grad_(True)
        logits = network(x)
        own = logits.gather(1, classes.to(device)[:, None]).sum()
        found = [(activation, places) for activation in seen if (places := _places(activation)) is not None]
        gradients = torch.autograd.grad(own, [activation for activation, _ in found], allow_unused=True)
    maps = []
    for (activation, places), gradient in zip(found, gradients, strict=True):
        if gradient is not None and places(gradient).abs().amax() > 0:
            maps.append((places(activation.detach()).float(), places(gradient).float()))
    if not maps:
        raise ShoeboxError(f"no heat map can be made of {type(network).__name__}: no layer keeps the picture's places")
    side = min(FINEST, max(a.shape[-1] for a, _ in maps))
    activation, gradient = [pair for pair in maps if pair[0].shape[-1] >= side][-1]
    heat = F.relu((gradient * activation).sum(1, keepdim=True))
    heat = F.interpolate(heat, tuple(pictures.shape[2:]), mode="bilinear", align_corners=False)
    heat = heat / heat.amax(dim=(1, 2, 3), keepdim=True).clamp_min(torch.finfo(heat.dtype).tiny)
    return np.asarray(heat[:, 0].cpu().numpy(), dtype=np.float32)


@contextmanager
def _watched(network: Network) -> Iterator[list[Tensor]]:
    """Collect what the parts of every stage put out, in the order they are called."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        del module, inputs
        first = output[0] if isinstance(output, tuple) and output else output
        if isinstance(first, Tensor) and first.requires_grad:
            seen.append(first)

    parts = [part for _, stage in network.stages() for part in _parts(stage)]
    handles = [part.register_forward_hook(keep) for part in parts]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _parts(stage: nn.Module) -> list[nn.Module]:
    """What of a stage is called: a stage of several parts is a list, which itself never is."""
    return list(stage.children()) if isinstance(stage, nn.ModuleList) else [stage]


def _places(activation: Tensor) -> Callable[[Tensor], Tensor] | None:
    """What brings an activation into the form (N, C, side, side); None where it has no places."""
    shape = activation.shape
    if activation.ndim == 4 and shape[2] == shape[3] > 1:
        return lambda x: x
    if activation.ndim == 4 and shape[1] == shape[2] > 1:
        return lambda x: x.permute(0, 3, 1, 2)
    if activation.ndim != 3:
        return None
    side = int(shape[1] ** 0.5)
    prefix = shape[1] - side * side
    if side < 2 or prefix > MOST_PREFIX:
        return None
    return lambda x: x[:, prefix:].transpose(1, 2).unflatten(2, (side, side))
