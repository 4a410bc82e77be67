"""Augmentations that move pixels: flips, whole-pixel translation, and everything one affine map can do.

Flips and `translate` copy bytes and lose nothing; neighbours of this sort move a few pictures at a time through all of
them, which meanwhile stay in the processor's cache. Rotation, shift, zoom and random resized crop draw a matrix per
picture and resample once, bilinearly, with the picture mirrored past its edges; compose() merges neighbours of this
sort into a single resampling. Pictures are square, as packs hold them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from shoebox.base.errors import UsageError
from shoebox.base.windows import cut_windows
from shoebox.data.draw import AUGMENTS, Augment, Chain, Draw, interleaved, matrix, number, planes, rounded, whole

PART_BYTES = 1 << 19
"""Of pictures whose pixels are moved at a time on a CPU: fresh memory costs more than moving bytes within it."""


@AUGMENTS.register
def flip(*, p: float = 0.5) -> Augment:
    """Mirror left–right with probability p."""
    p = number("flip", "p", p, 0, 1)
    return Moves((lambda draw: sideways(draw.chance(p)),))


@AUGMENTS.register
def flip_vertical(*, p: float = 0.5) -> Augment:
    """Mirror top–bottom with probability p."""
    p = number("flip_vertical", "p", p, 0, 1)
    return Moves((lambda draw: UpsideDown(draw.chance(p)),))


@AUGMENTS.register
def flip_alternating() -> Augment:
    """Mirror every picture left–right in every other epoch; which half starts mirrored is a hash of the row.

    Any two consecutive epochs then show each picture both ways, where random flips repeat a view half of the time:
    Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (2024), section 3.6.
    """

    def link(draw: Draw) -> Move:
        # Fibonacci hashing: the product's high bits depend on all of the row's bits (int64 wraps around).
        start = (draw.rows * -7046029254386353131) >> 40
        return sideways(((start + draw.epoch) & 1).bool())

    return Moves((link,))


@AUGMENTS.register
def translate(*, pixels: int = 2) -> Augment:
    """Move by a whole number of pixels, −pixels..pixels in both directions, mirroring at the edges (the edge itself is
    not repeated). A picture must be larger than `pixels`.
    """
    reach = whole("translate", "pixels", pixels, 0, 1024)

    return Moves((lambda draw: Window(draw.below(2 * reach + 1, 2), reach),))


@AUGMENTS.register
def rotate(*, degrees: float = 15.0, p: float = 0.5) -> Augment:
    """Turn about the middle by −degrees..degrees with probability p."""
    degrees, p = number("rotate", "degrees", degrees, 0, 180), number("rotate", "p", p, 0, 1)

    def link(draw: Draw) -> Tensor:
        return rotation(torch.deg2rad(draw.uniform(-degrees, degrees)) * draw.chance(p))

    return Affine((link,))


@AUGMENTS.register
def shift(*, fraction: float = 0.1, p: float = 0.5) -> Augment:
    """Move by up to `fraction` of the side in both directions, between pixels too, with probability p."""
    fraction, p = number("shift", "fraction", fraction, 0, 1), number("shift", "p", p, 0, 1)

    def link(draw: Draw) -> Tensor:
        # the map's coordinates run from -1 to 1, so a whole side is 2
        by = draw.uniform(-2 * fraction, 2 * fraction, 2) * draw.chance(p)[:, None]
        return matrix(3, {(0, 2): by[:, 0], (1, 2): by[:, 1]})

    return Affine((link,))


@AUGMENTS.register
def zoom(*, low: float = 0.8, high: float = 1.25, p: float = 0.5) -> Augment:
    """Magnify about the middle by a factor of low..high (below 1 shows more than the picture: its mirrored surround)
    with probability p.
    """
    low, high = number("zoom", "low", low, 0.1, 10), number("zoom", "high", high, 0.1, 10)
    p = number("zoom", "p", p, 0, 1)
    if low > high:
        raise UsageError(f"zoom(low={low:g}, high={high:g}): low must not be above high")

    def link(draw: Draw) -> Tensor:
        factor = torch.where(draw.chance(p), draw.uniform(low, high), 1.0)
        return matrix(3, {(0, 0): 1 / factor, (1, 1): 1 / factor})

    return Affine((link,))


@AUGMENTS.register
def random_resized_crop(*, scale_low: float = 0.35, ratio: float = 0.75, p: float = 1.0) -> Augment:
    """Show a random rectangle of the picture, stretched to the full square, with probability p.

    Args:
        scale_low: smallest share of the picture's area; shares are uniform in scale_low..1.
        ratio: smallest width/height; log-uniform in ratio..1/ratio. A side that would be longer than the picture is
            cut to it.
        p: probability.

    Szegedy et al., "Going Deeper with Convolutions" (2015), where scale_low is 0.08.
    """
    scale_low = number("random_resized_crop", "scale_low", scale_low, 0.01, 1)
    ratio = number("random_resized_crop", "ratio", ratio, 0.1, 1)
    p = number("random_resized_crop", "p", p, 0, 1)
    bound = -float(torch.tensor(ratio).log())

    def link(draw: Draw) -> Tensor:
        area, stretch = draw.uniform(scale_low, 1), draw.uniform(-bound, bound).exp()
        sides = torch.stack([(area * stretch).sqrt(), (area / stretch).sqrt()], 1).clamp(max=1.0)
        sides = torch.where(draw.chance(p)[:, None], sides, 1.0)
        middle = draw.uniform(-1, 1, 2) * (1 - sides)
        return matrix(3, {(0, 0): sides[:, 0], (1, 1): sides[:, 1], (0, 2): middle[:, 0], (1, 2): middle[:, 1]})

    return Affine((link,))


@dataclass(frozen=True)
class Affine(Chain):
    """Resample each picture once through the product of its links' (n,3,3) matrices.

    A matrix maps a place in the result to the place it shows of the picture; (-1,-1) and (1,1) are the outer corners.
    """

    def __call__(self, pictures: Tensor, targets: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        maps = self.links[0](draw)
        for link in self.links[1:]:
            maps = maps @ link(draw)
        return rounded(warp(planes(pictures), maps)), targets


def rotation(radians: Tensor) -> Tensor:
    """(n,) → (n,3,3)."""
    cosine, sine = radians.cos(), radians.sin()
    return matrix(3, {(0, 0): cosine, (0, 1): -sine, (1, 0): sine, (1, 1): cosine})


def warp(pictures: Tensor, maps: Tensor) -> Tensor:
    """Resample (n,3,S,S) float pictures through (n,3,3) maps, bilinear, mirrored past the edges."""
    side = pictures.shape[-1]
    places = (torch.arange(side, device=pictures.device) * 2 + 1) / side - 1
    # three times as fast on a CPU as F.affine_grid, which multiplies matrices 3 wide
    down = maps[:, None, :2, 1] * places[:, None] + maps[:, None, :2, 2]
    across = maps[:, None, :2, 0] * places[:, None]
    grid = down[:, :, None] + across[:, None]
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


Move = Callable[[Tensor, slice, Tensor | None], Tensor]
"""(some pictures of a batch (m,S,S,3) uint8, which of the batch, where to put them or None) -> them, moved."""


@dataclass(frozen=True)
class Moves(Chain):
    """Copy the bytes of each picture to their new places, link after link, a few pictures at a time."""

    links: tuple[Callable[[Draw], Move], ...]

    def __call__(self, pictures: Tensor, targets: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        *first, last = merged([link(draw) for link in self.links])
        plain = interleaved(pictures)
        result = torch.empty_like(plain)
        for part in parts(plain):
            piece = plain[part]
            for move in first:
                piece = move(piece, part, None)
            last(piece, part, result[part])
        return result.permute(0, 3, 1, 2), targets


@dataclass(frozen=True)
class UpsideDown:
    """A move: turn the chosen (n,) pictures upside down.

    Picks whole pictures out of both versions: six times as fast on a CPU as `torch.where`, which decides per byte.
    """

    chosen: Tensor

    def __call__(self, piece: Tensor, part: slice, out: Tensor | None) -> Tensor:
        both = torch.cat([piece, piece.flip(1)])
        rows = torch.arange(len(piece), device=piece.device) + len(piece) * self.chosen[part]
        return torch.index_select(both, 0, rows, out=out)


@dataclass(frozen=True)
class Window:
    """A move: cut the windows at `corners` (n,2) out of pictures that `reach` extends; those of the pictures that are
    `reversed` (n,) left–right first."""

    corners: Tensor
    reach: int
    reversed: Tensor | None = None

    def __call__(self, piece: Tensor, part: slice, out: Tensor | None) -> Tensor:
        sides = piece.shape[1:3]
        if min(sides) <= self.reach:
            raise UsageError(f"translate(pixels={self.reach}): the pictures are only {min(sides)} px large")
        chosen = None if self.reversed is None else self.reversed[part]
        return cut_windows(piece, self.corners[part], self.reach, chosen, out)


def sideways(chosen: Tensor) -> Window:
    """A move: mirror the chosen (n,) pictures left–right."""
    return Window(torch.zeros(len(chosen), 2, dtype=torch.int64, device=chosen.device), 0, chosen)


def merged(moves: list[Move]) -> list[Move]:
    """The same moves, where a window is cut from pictures that were at most mirrored left–right as one."""
    one: list[Move] = []
    for move in moves:
        before = one[-1] if one else None
        if isinstance(move, Window) and move.reversed is None and isinstance(before, Window) and before.reach == 0:
            one[-1] = replace(move, reversed=before.reversed)
        else:
            one.append(move)
    return one


def parts(pictures: Tensor) -> list[slice]:
    """A batch in parts whose intermediate results stay in a processor's cache; on a GPU, the whole of it."""
    count = len(pictures)
    size = max(1, PART_BYTES // max(1, pictures[0].numel())) if count and pictures.device.type == "cpu" else count
    return [slice(first, min(first + size, count)) for first in range(0, count, max(1, size))]
