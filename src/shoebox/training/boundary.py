"""The frozen boundary: a network cut into what stays as it is and what trains above it.

In: a pretrained network and how many of its stages stay frozen. Out: where to catch the activations that cross, so that
they are computed once, and the same network taking those activations in place of pictures. Whether a network can be
cut there is found out by doing it: the cut network must give what the whole one gives. One whose skip connections reach
over the boundary cannot, nor one whose stages hand over more than one tensor.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from shoebox.models import Network, Pretrained

TOLERANCE = 1e-4
"""Largest difference of a feature between the cut and the whole network, as a share of the largest feature."""


class Crossing(NamedTuple):
    """A frozen module in the order in which a picture meets it."""

    name: str
    shape: tuple[int, ...]
    """Of its output for one picture."""


@dataclass(frozen=True)
class Boundary:
    """Where a network can be cut.

    Attributes:
        frozen: how many stages lie below.
        below: what they consist of, the last one's output being what crosses.
        size: side of the pictures, px.
    """

    frozen: int
    below: tuple[Crossing, ...]
    size: int

    @property
    def name(self) -> str:
        """The module whose output crosses."""
        return self.below[-1].name

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the activations of one picture."""
        return self.below[-1].shape

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape in which they are kept: maps (C, H, W) lie channels-last."""
        shape = self.shape
        return (*shape[1:], shape[0]) if len(shape) == 3 else shape


def find_boundary(network: Pretrained, frozen: int, sample: Tensor) -> Boundary | None:
    """Where to cut a network above its first `frozen` stages; None where it cannot be.

    Args:
        network: in evaluation mode, on any device; left as it is.
        frozen: from 0, which is no boundary, to the number of stages.
        sample: normalised pictures (n, 3, S, S), n at least 2.
    """
    if frozen == len(network.stages()):
        # Only the head trains: what crosses are the features themselves.
        with torch.no_grad():
            features = network.features(sample)
        return Boundary(frozen, (Crossing("body", tuple(features.shape[1:])),), sample.shape[-1])
    modules = {id(m) for _, stage in network.stages()[:frozen] for m in _members(stage)}
    named = [(name, module) for name, module in network.named_modules() if id(module) in modules]
    met: list[tuple[str, Any]] = []

    def note(name: str) -> Any:
        return lambda module, inputs, output: met.append((name, output))

    handles = [module.register_forward_hook(note(name)) for name, module in named]
    try:
        with torch.no_grad():
            whole = network.features(sample)
    finally:
        for handle in handles:
            handle.remove()
    names = [name for name, _ in met]
    if not met or len(set(names)) < len(names) or not all(isinstance(output, Tensor) for _, output in met):
        return None
    boundary = Boundary(
        frozen, tuple(Crossing(name, tuple(output.shape[1:])) for name, output in met), sample.shape[-1]
    )
    if met[-1][1].shape[0] != len(sample):
        return None
    upper = copy.deepcopy(network).eval()
    cut(upper, boundary)
    try:
        with torch.no_grad():
            again = upper.features(met[-1][1].float())
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError, AttributeError):
        return None
    fits = again.shape == whole.shape and float((again - whole).abs().max()) <= TOLERANCE * float(whole.abs().max())
    return boundary if fits else None


def cut(network: Pretrained, boundary: Boundary) -> Cut:
    """Take out what lies below the boundary, in place: the network then takes activations (n, *shape), float.

    Its `state_dict`, its stages and its copies hold only what is above; the returned `Cut` puts the rest back.
    """
    held = _Held()
    taken = {crossing.name: network.get_submodule(crossing.name) for crossing in boundary.below}
    for crossing in boundary.below:
        last = crossing.name == boundary.name
        original = taken[crossing.name]
        _put(network, crossing.name, _Splice(original, held) if last else _Empty(original, crossing.shape))

    def swap(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        del module
        # What lies between frozen stages (a position added, a token put in front) runs on empty pictures, unused.
        (held.value,) = inputs
        side = boundary.size
        return held.value.new_zeros(1).expand(len(held.value), 3, side, side)

    handle = network.body.register_forward_pre_hook(swap)
    return Cut(taken, handle)


class Cut:
    """What was taken out of a network."""

    def __init__(self, taken: dict[str, nn.Module], handle: Any) -> None:
        self._taken, self._handle = taken, handle

    def mend(self, network: Network) -> Network:
        """Make a network that was cut (or a copy of it) whole again, in place."""
        assert isinstance(network, Pretrained)
        for name, module in self._taken.items():
            _put(network, name, module)
        network.body._forward_pre_hooks.pop(self._handle.id, None)
        return network


class _Held:
    """The activations on their way through a network that was cut; shared by all its copies."""

    value: Tensor

    def __deepcopy__(self, memo: Any) -> _Held:
        return self


class _Original:
    """The module that was taken out, shared by all copies of what stands for it."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __deepcopy__(self, memo: Any) -> _Original:
        return self


class _Standing(nn.Module):
    """Stands for a frozen module: other modules may read its settings (a grid's size, a flag)."""

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        # Not a submodule: its parameters are no longer of this network.
        self.original = _Original(original)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattribute__("original").module, name)


class _Empty(_Standing):
    """An output of the right shape that costs nothing."""

    def __init__(self, original: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__(original)
        self.output_shape = shape

    def forward(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        return x.new_zeros(1).expand(len(x), *self.output_shape)


class _Splice(_Standing):
    """In place of the last frozen module: gives the held activations."""

    def __init__(self, original: nn.Module, held: _Held) -> None:
        super().__init__(original)
        self.held = held

    def forward(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        return self.held.value


def _members(stage: nn.Module) -> Iterator[nn.Module]:
    """The modules of the network that a stage consists of."""
    if isinstance(stage, nn.ModuleList):
        for part in stage:
            yield from _members(part)
    elif not isinstance(stage, nn.ParameterDict):
        yield stage


def _put(root: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(root.get_submodule(parent), own, module)
