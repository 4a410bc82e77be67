"""Why this answer? Heat maps of where in a picture the evidence for a class lies.

In: a network with its preparation of pictures, uint8 pictures, and the class asked about for each. Out: heat maps of
the pictures' own size, 0…1.

Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) in the form of HiResCAM (Draelos and Carin 2020, arXiv:2011.08891):
activation times gradient, place by place, summed over channels, where positive. The two are the same wherever the head
averages over places; where it looks at single ones (a maximum, a class token), averaging the gradient first would lose
which place a class was seen in.

Of a convolutional network the activation is its last map of at least `FINEST` places a side, or the finest there is. A
transformer moves what it saw to the class token block by block, so that no single activation tells: there the products
are summed over what enters the attention of every block, tokens of patches laid out as the grid they came from (summing
over blocks is the idea of Chefer et al. 2021, arXiv:2103.15679, who weigh attention maps). In composites of two
digits, that found the half of the digit asked about in 92 % of cases where the last block alone did in 61 %.

Of networks that answer together, the evidence of each is added up.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
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
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        watched = [stack.enter_context(_watched(member)) for member in network.each()]
        x = prepared.inputs(pictures.to(device)).detach().clone().requires_grad_(True)
        own = network(x).gather(1, classes.clone().to(device)[:, None]).sum()  # a clone: no inference tensor
        found = [_evidence(seen, own, len(x)) for seen in watched]
    sides = [evidence.shape[-1] for evidence in found if evidence is not None]
    if not sides:
        raise ShoeboxError(f"no heat map can be made of {type(network).__name__}: no layer keeps the picture's places")
    heat = F.relu(torch.stack([_resized(one, max(sides)) for one in found if one is not None]).sum(0))
    heat = _resized(heat, pictures.shape[-1])
    heat = heat / heat.amax(dim=(1, 2, 3), keepdim=True).clamp_min(torch.finfo(heat.dtype).tiny)
    return np.asarray(heat[:, 0].cpu().numpy(), dtype=np.float32)


def _evidence(seen: "_Seen", own: Tensor, count: int) -> Tensor | None:
    """What speaks for and against the class whose logits are summed in `own`, in `count` pictures, place by place:
    (count, 1, side, side), or None where no activation has places."""
    attended = _laid_out(seen.attended, count)
    laid_out = attended or _laid_out(seen.outputs, count)
    activations = [activation for activation, _ in laid_out]
    gradients = torch.autograd.grad(own, activations, allow_unused=True, retain_graph=True) if laid_out else ()
    maps = [
        grid(activation.detach() * gradient).float().sum(1, keepdim=True)
        for (activation, grid), gradient in zip(laid_out, gradients, strict=True)
        if gradient is not None and grid(gradient).abs().amax() > 0
    ]
    if not maps:
        return None
    if not attended:
        side = min(FINEST, max(one.shape[-1] for one in maps))
        maps = [one for one in maps if one.shape[-1] >= side][-1:]
    finest = max(one.shape[-1] for one in maps)
    return torch.stack([_resized(one, finest) for one in maps]).sum(0)


def _resized(maps: Tensor, side: int) -> Tensor:
    return F.interpolate(maps, (side, side), mode="bilinear", align_corners=False) if maps.shape[-1] != side else maps


@dataclass
class _Seen:
    """What was met on the way: outputs of the stages' parts, and what entered attention, in the order of the calls."""

    outputs: list[Tensor] = field(default_factory=list)
    attended: list[Tensor] = field(default_factory=list)


@contextmanager
def _watched(network: Network) -> Iterator[_Seen]:
    """Collect the activations that one forward pass goes through."""
    seen = _Seen()

    def keep_output(module: nn.Module, inputs: Any, output: Any) -> None:
        del module, inputs
        _keep(seen.outputs, output if isinstance(output, tuple) else (output,))

    def keep_input(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        del module
        _keep(seen.attended, (*inputs, *named.values()))

    stages = [stage for _, stage in network.stages()]
    handles = [part.register_forward_hook(keep_output) for stage in stages for part in _parts(stage)]
    attentions = [part for stage in stages for part in _attentions(stage)]
    handles += [part.register_forward_pre_hook(keep_input, with_kwargs=True) for part in attentions]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _keep(kept: list[Tensor], values: tuple[Any, ...]) -> None:
    """Add the first value if it is an activation that a gradient can flow to."""
    if values and isinstance(values[0], Tensor) and values[0].requires_grad:
        kept.append(values[0])


def _parts(stage: nn.Module) -> list[nn.Module]:
    """What of a stage is called: a stage of several parts is a list, which itself never is."""
    return list(stage.children()) if isinstance(stage, nn.ModuleList) else [stage]


def _attentions(part: nn.Module) -> Iterator[nn.Module]:
    """The outermost modules of attention, by the names that timm, torchvision and Transformers give them."""
    if type(part).__name__.endswith(("Attention", "Attn", "AttentionRope")):
        yield part
        return
    for child in part.children():
        yield from _attentions(child)


def _laid_out(activations: list[Tensor], count: int) -> list[tuple[Tensor, Callable[[Tensor], Tensor]]]:
    """Those activations of `count` pictures that have places, each with what brings it into the form of a grid."""
    return [(one, grid) for one in activations if (grid := _grid(one, count)) is not None]


def _grid(activation: Tensor, count: int) -> Callable[[Tensor], Tensor] | None:
    """What lays an activation of `count` pictures out as (N, C, side, side); None where it has no places."""
    shape = activation.shape
    if shape[0] != count:  # windows or groups of patches as a batch
        return None
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
