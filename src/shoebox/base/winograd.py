"""Convolutions of 3×3, step 1, padding 1, in float32 on a CPU: by Winograd's minimal filtering where that pays, by
torch elsewhere. The same numbers up to rounding (about 10⁻⁶ of their size), forward and backward.

In: maps (N, C, H, W) and filters (K, C, 3, 3). Out: maps (N, K, H, W), or their maxima over 2×2. A training step of
`speednet(width=0.75)` took 0.6 of its time with it on two cores (AVX-512, float32).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from shoebox.base.arithmetic import address, lanes, library, scratch, serves, threads

FEWEST_TILES, FEWEST_CHANNELS = 256, 16
"""Below so many squares of 4×4 in a batch, the transform of the filters costs more than it saves; below so many
channels on either side, that of the maps does."""

AT_ONCE, SUMS_AT_ONCE = 1_300_000, 1.5
"""Bytes of transformed maps to hold at a time, so that they stay in a core's cache; for the gradient of the filters at
least this multiple of its own bytes, which are read and written for each."""


class Conv3x3(nn.Conv2d):
    """A convolution of 3×3 with step 1 and padding 1, as `convolve` computes it."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias)


class PooledConv3x3(Conv3x3):
    """The same, of whose output only the maxima over 2×2 are kept: (N, C, H, W) → (N, K, H/2, W/2)."""

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias, pooled=True)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, pooled: bool = False) -> Tensor:
    """`conv2d(x, weight, bias, padding=1)`, and with `pooled` `max_pool2d` by 2 after it.

    Args:
        x: (N, C, H, W).
        weight: (K, C, 3, 3).
        bias: (K,) or None.
    """
    if pays(x, weight):
        y: Tensor = _Winograd.apply(x, weight, bias, pooled)  # type: ignore[no-untyped-call]
        return y
    y = F.conv2d(x, weight, bias, padding=1)
    return F.max_pool2d(y, 2) if pooled else y


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether `convolve` computes this by itself: enough of what the compiled functions serve, and of shapes that fit;
    what does not fit is for torch to complain of."""
    # First of all: of what is being traced, no side may be looked at.
    if not serves(x) or x.ndim != 4 or weight.ndim != 4:
        return False
    tiles = x.shape[0] * _ceil(x.shape[2], 4) * _ceil(x.shape[3], 4)
    large = tiles >= FEWEST_TILES and min(weight.shape[:2]) >= FEWEST_CHANNELS and min(x.shape[2:]) >= 2
    fits = weight.dtype == torch.float32 and weight.shape[1:] == (x.shape[1], 3, 3)
    return large and fits and weight.device == x.device


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, pooled: bool) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        shift = None if bias is None else bias.float().contiguous()
        y, winners = _forward(x, weight.permute(2, 3, 1, 0), shift, None, x.shape[2:], pooled)
        ctx.save_for_backward(x, weight, winners)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, winners = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            turned = weight.flip(2, 3).permute(2, 3, 0, 1)
            to_x, _ = _forward(gradient, turned, None, winners, x.shape[2:], False)
        if ctx.needs_input_grad[1]:
            to_weight = _filters(x, gradient, winners)
        if ctx.needs_input_grad[2]:
            to_bias = gradient.sum((0, 2, 3))
        return to_x, to_weight, to_bias, None


def _forward(
    x: Tensor, filters: Tensor, bias: Tensor | None, winners_in: Tensor | None, sides: torch.Size, pooled: bool
) -> tuple[Tensor, Tensor | None]:
    """Maps (N, C, …), channels-last, and filters (3, 3, C, K) to maps (N, K, …) and, if pooled, which of four won."""
    count, before, after = len(x), filters.shape[2], filters.shape[3]
    height, width = sides
    shape = (count, after, height // 2, width // 2) if pooled else (count, after, height, width)
    y = torch.empty(shape, memory_format=torch.channels_last)
    winners = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last) if pooled else None
    room, panel = _room(before, after, AT_ONCE)
    filters = filters.contiguous()
    library().winograd_forward(
        *map(address, (x, winners_in, filters, bias, y, winners)),
        *(count, height, width, before, after, room, threads()),
        address(scratch(36 * before * _ceil(after, lanes()) * lanes() + threads() * panel)),
    )
    return y, winners


def _filters(x: Tensor, gradient: Tensor, winners: Tensor | None) -> Tensor:
    """The gradient (K, C, 3, 3) of the filters that made of `x` what `gradient` is the gradient of."""
    count, before, height, width = x.shape
    after = gradient.shape[1]
    sums = 36 * _ceil(before, lanes()) * _ceil(after, lanes()) * lanes() ** 2
    room, panel = _room(before, after, max(AT_ONCE, int(SUMS_AT_ONCE * sums * 4)))
    filters = torch.empty(3, 3, before, after)
    library().winograd_filters(
        *map(address, (x, filters, gradient, winners)),
        *(count, height, width, before, after, room, threads()),
        address(scratch(threads() * (sums + panel))),
    )
    return filters.permute(3, 2, 0, 1)


def _room(before: int, after: int, size: int) -> tuple[int, int]:
    """How many tiles to transform at a time within `size` bytes, in whole eights; and the floats they take."""
    vectors = _ceil(before, lanes()) + _ceil(after, lanes())
    room = max(8, min(256, size // (36 * 4 * lanes() * vectors) // 8 * 8))
    return room, vectors * (36 * room + 1) * lanes()


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
