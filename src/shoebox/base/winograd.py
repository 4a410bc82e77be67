"""Convolutions of 3×3, step 1, padding 1, in float32 on a CPU: by Winograd's minimal filtering where that pays, by
torch elsewhere. The same numbers up to rounding (2·10⁻⁶ to 6·10⁻⁶ of their size), forward and backward.

In: maps (N, C, H, W) and filters (K, C, 3, 3). Out: maps (N, K, H, W), or their maxima over 2×2. Within `half_products`
in 16 bits, on processors that have these. On two cores a training step of `speednet(width=0.75)` took 0.6 of its time
(an Intel Xeon, float32), in 16 bits 0.4 (AVX512-FP16); of `speednet(width=0.875)` 0.4 (an AMD EPYC, float32), 0.26 in
16 bits (AVX512-BF16).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from shoebox.base.arithmetic import address, lanes, library, scratch, serves, threads

FEWEST_TILES, FEWEST_CHANNELS, FEWEST_PRODUCTS = 64, 16, 8192
"""Below so many squares of 4×4 in a batch, or so many times the channels of the side that has fewer, the transform of
the filters costs more than it saves; below so many channels on either side, that of the maps does."""


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
        halves = x.dtype == torch.bfloat16 or halves_wanted()
        y: Tensor = _Winograd.apply(x, weight, bias, pooled, halves)  # type: ignore[no-untyped-call]
        return y
    if halves_wanted():
        y = F.conv2d(x.float(), weight, bias, padding=1).to(x.dtype)
    else:
        y = F.conv2d(x, weight, bias, padding=1)
    return F.max_pool2d(y, 2) if pooled else y


_products = threading.local()


@contextlib.contextmanager
def half_products() -> Iterator[None]:
    """Within the block, `convolve` and its gradients are computed in numbers of 16 bits, where the processor has
    AVX512-FP16 or AVX512-BF16; elsewhere it changes nothing. So is what is given maps in bfloat16 and filters in
    float32.

    Maps and their gradients are rounded to bfloat16. With AVX512-FP16 what is transformed and multiplied is float16,
    brought by a power of 2 into the range that this has; where that is not enough, it is computed again in float32.
    With AVX512-BF16 alone, or built by GCC 10 or 11, what is multiplied is bfloat16, and the rest float32. Filters,
    their gradients and sums over many tiles stay float32. An output differs by 1 to 3 % of its size, at random.
    """
    before = halves_wanted()
    _products.halves = lanes(halves=True) > 0
    try:
        yield
    finally:
        _products.halves = before


def halves_wanted() -> bool:
    """Whether this is within `half_products`, on a processor that has them."""
    return getattr(_products, "halves", False)


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether `convolve` computes this by itself: enough of what the compiled functions serve, and of shapes that fit;
    what does not fit is for torch to complain of."""
    # First of all: of what is being traced, no side may be looked at.
    if not serves(x) or x.ndim != 4 or weight.ndim != 4:
        return False
    tiles = x.shape[0] * _ceil(x.shape[2], 4) * _ceil(x.shape[3], 4)
    channels = min(weight.shape[:2])
    large = tiles >= max(FEWEST_TILES, FEWEST_PRODUCTS / max(channels, 1)) and channels >= FEWEST_CHANNELS
    fits = weight.dtype == torch.float32 and weight.shape[1:] == (x.shape[1], 3, 3)
    return large and min(x.shape[2:]) >= 2 and fits and weight.device == x.device


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, pooled: bool, halves: bool) -> Tensor:
        maps = x.to(torch.bfloat16 if halves else torch.float32).contiguous(memory_format=torch.channels_last)
        shift = None if bias is None else bias.float().contiguous()
        y, winners = _forward(maps, weight, shift, None, x.shape[2:], pooled=pooled)
        ctx.save_for_backward(maps, weight, winners)
        return y.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, winners = ctx.saved_tensors
        given = gradient.dtype
        gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x, _ = _forward(gradient, weight, None, winners, x.shape[2:], turned=True)
            to_x = to_x.to(given)
        if ctx.needs_input_grad[1]:
            to_weight = _filters(x, gradient, winners)
        if ctx.needs_input_grad[2]:
            to_bias = gradient.sum((0, 2, 3), dtype=torch.float32)
        return to_x, to_weight, to_bias, None, None


def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    winners_in: Tensor | None,
    sides: torch.Size,
    *,
    pooled: bool = False,
    turned: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Maps (N, C, …), channels-last, float32 or bfloat16, and filters (K, C, 3, 3) to maps (N, K, …) of the same type
    and, if pooled, which of four won. Or `turned`: gradients (N, K, …) back through them to gradients (N, C, …)."""
    count, before, after = len(x), weight.shape[0 if turned else 1], weight.shape[1 if turned else 0]
    height, width = sides
    half = x.dtype == torch.bfloat16
    shape = (count, after, height // 2, width // 2) if pooled else (count, after, height, width)
    y = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    winners = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last) if pooled else None
    filters = weight.contiguous(memory_format=torch.channels_last)
    too_large = library().winograd_forward(
        *map(address, (x, winners_in, filters, bias, y, winners)),
        *(count, height, width, before, after, turned, half, threads()),
        address(_scratch(sides, before, after, False, half)),
    )
    if half and too_large:
        y, winners = _forward(x.float(), filters, bias, winners_in, sides, pooled=pooled, turned=turned)
    return y.to(x.dtype), winners


def _filters(x: Tensor, gradient: Tensor, winners: Tensor | None) -> Tensor:
    """The gradient (K, C, 3, 3), float32, of the filters that made of `x` what `gradient` is the gradient of."""
    count, before, height, width = x.shape
    after = gradient.shape[1]
    half = x.dtype == torch.bfloat16
    filters = torch.empty((after, before, 3, 3), memory_format=torch.channels_last)
    too_large = library().winograd_filters(
        *map(address, (x, filters, gradient, winners)),
        *(count, height, width, before, after, half, threads()),
        address(_scratch(x.shape[2:], before, after, True, half)),
    )
    if half and too_large:
        return _filters(x.float(), gradient.float(), winners)
    return filters


def _scratch(sides: torch.Size, before: int, after: int, gradient: bool, half: bool) -> Tensor:
    """The memory that a convolution, or the gradient of its filters, computes in."""
    return scratch(_ceil(library().winograd_scratch(*sides, before, after, gradient, half, threads()), 4))


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
