"""What every augmentation is made of: its type, its registry, its random numbers and the checks of its options.

An augmentation takes a batch of uint8 pictures that already lie on the device and returns one of the same shape.
Parameters are drawn per picture from one generator, so a batch depends only on the generator's state, the epoch and
the rows. Nothing here or in the modules built on it reads a value back from the device or makes a shape depend on one,
so that a whole chain can be captured in a CUDA graph.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from shoebox.base.errors import UsageError
from shoebox.base.registry import Registry


@dataclass(frozen=True)
class Draw:
    """What an augmentation may depend on besides the pictures.

    Args:
        generator: source of every random number; on the pictures' device.
        epoch: counted from 0.
        rows: (n,) int64 on the pictures' device; which picture of the data set each one is.
    """

    generator: torch.Generator
    epoch: int
    rows: Tensor

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """(n, *shape) float32 in [low, high)."""
        device = self.rows.device
        return torch.rand(len(self.rows), *shape, generator=self.generator, device=device) * (high - low) + low

    def chance(self, p: float) -> Tensor:
        """(n,) bool, each True with probability p."""
        return self.uniform(0.0, 1.0) < p

    def below(self, bound: int, *shape: int) -> Tensor:
        """(n, *shape) int64 in [0, bound)."""
        device = self.rows.device
        return torch.randint(bound, (len(self.rows), *shape), generator=self.generator, device=device)


Augment = Callable[[Tensor, Tensor, Draw], tuple[Tensor, Tensor]]
"""(pictures (n,3,S,S) uint8, targets (n,K) float32 probabilities, draw) -> the same two, augmented.

Pictures lie channels-last in memory, before and after.
"""

AUGMENTS: Registry[Callable[..., Augment]] = Registry("augmentation")

Self = TypeVar("Self", bound="Chain")


@dataclass(frozen=True)
class Chain(ABC):
    """An augmentation that is one link or several (a matrix per picture, a move of its bytes), so that neighbours of a
    kind merge into one pass over the pixels.

    Besides the time, a merged chain of matrices interpolates and rounds once instead of once per link.

    Args:
        links: what draws each, in the order of application.
    """

    links: tuple[Callable[..., Any], ...]

    def then(self: Self, after: Self) -> Self:
        """This chain followed by another one of its kind."""
        return replace(self, links=self.links + after.links)

    @abstractmethod
    def __call__(self, pictures: Tensor, targets: Tensor, draw: Draw) -> tuple[Tensor, Tensor]: ...


def number(augmentation: str, option: str, value: Any, low: float, high: float) -> float:
    """`value` if it is a number in [low, high].

    Raises:
        UsageError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UsageError(f"{augmentation}({option}={value!r}): expected a number from {low:g} to {high:g}")
    return float(value)


def whole(augmentation: str, option: str, value: Any, low: int, high: int) -> int:
    """`value` if it is a whole number in [low, high].

    Raises:
        UsageError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UsageError(f"{augmentation}({option}={value!r}): expected a whole number from {low} to {high}")
    return value


def interleaved(pictures: Tensor) -> Tensor:
    """(n,3,h,w) → (n,h,w,3) contiguous; for channels-last pictures, a view."""
    return pictures.permute(0, 2, 3, 1).contiguous()


def planes(pictures: Tensor) -> Tensor:
    """(n,3,h,w) uint8 → float32 0..255, one plane per channel: what resampling and matrix products are fastest on."""
    return pictures.to(torch.float32, memory_format=torch.contiguous_format)


def rounded(values: Tensor) -> Tensor:
    """(n,3,h,w) float → uint8, channels-last, rounded and clipped to 0..255."""
    return values.round().clamp_(0, 255).to(torch.uint8, memory_format=torch.channels_last)


def matrix(side: int, entries: Mapping[tuple[int, int], Tensor]) -> Tensor:
    """(n, side, side) float32: identity matrices with these entries, each (n,), put in place."""
    first = next(iter(entries.values()))
    result = torch.eye(side, device=first.device).repeat(len(first), 1, 1)
    for (row, column), value in entries.items():
        result[:, row, column] = value
    return result
