"""Augmentations that change colours and sharpness, not places.

Brightness, contrast, saturation, hue and grayscale are one affine map of RGB per picture, so compose() merges
neighbours of this sort into a single matrix product, clipped and rounded once.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from shoebox.data.draw import AUGMENTS, Augment, Chain, Draw, matrix, number, planes, rounded

# Rec. 601: how bright red, green and blue look
LUMA = (0.299, 0.587, 0.114)
# RGB → luma and the two colour axes of NTSC television; turning those two changes the hue and leaves the luma
YIQ = (LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


@AUGMENTS.register
def brightness(*, amount: float = 0.3, p: float = 0.5) -> Augment:
    """Multiply by a factor in 1 ± amount, with probability p."""
    amount, p = number("brightness", "amount", amount, 0, 1), number("brightness", "p", p, 0, 1)
    return Recolour((lambda colour, draw: brighten(factor(amount, p, draw)),))


@AUGMENTS.register
def contrast(*, amount: float = 0.3, p: float = 0.5) -> Augment:
    """Multiply the distance from the picture's mean grey by a factor in 1 ± amount, with probability p."""
    amount, p = number("contrast", "amount", amount, 0, 1), number("contrast", "p", p, 0, 1)
    return Recolour((lambda colour, draw: stretch(factor(amount, p, draw), colour),))


@AUGMENTS.register
def saturation(*, amount: float = 0.3, p: float = 0.5) -> Augment:
    """Multiply each pixel's distance from its own grey by a factor in 1 ± amount, with probability p."""
    amount, p = number("saturation", "amount", amount, 0, 1), number("saturation", "p", p, 0, 1)
    return Recolour((lambda colour, draw: saturate(factor(amount, p, draw)),))


@AUGMENTS.register
def grayscale(*, p: float = 0.1) -> Augment:
    """Take all colour away, with probability p."""
    p = number("grayscale", "p", p, 0, 1)
    return Recolour((lambda colour, draw: saturate(1.0 - draw.chance(p).float()),))


@AUGMENTS.register
def hue(*, amount: float = 0.05, p: float = 0.5) -> Augment:
    """Turn all hues by up to ± amount of the colour circle (0.5 = the opposite colour), with probability p.

    A rotation in the YIQ colour space: one matrix product, where going through HSV takes a dozen passes. It keeps the
    luma; hues move by nearly, not exactly, the angle that HSV would turn them by.
    """
    amount, p = number("hue", "amount", amount, 0, 0.5), number("hue", "p", p, 0, 1)

    def link(colour: Tensor, draw: Draw) -> Tensor:
        return turn(draw.uniform(-amount, amount) * draw.chance(p) * (2 * math.pi))

    return Recolour((link,))


@AUGMENTS.register
def blur(*, sigma: float = 1.0, p: float = 0.5) -> Augment:
    """Gaussian blur with a standard deviation of 0.1..sigma pixels, with probability p."""
    sigma, p = number("blur", "sigma", sigma, 0.1, 10), number("blur", "p", p, 0, 1)
    reach = math.ceil(3 * sigma)

    def augment(pictures: Tensor, targets: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        # at 0.1 pixels the neighbours weigh e^-50: such a picture comes out unchanged
        deviation = torch.where(draw.chance(p), draw.uniform(0.1, sigma), 0.1)
        taps = torch.arange(-reach, reach + 1, device=pictures.device)
        weights = torch.softmax(-0.5 * (taps / deviation[:, None]) ** 2, 1)
        smooth = planes(pictures)
        for axis, sides in ((2, (0, 0, reach, reach)), (3, (reach, reach, 0, 0))):
            length = smooth.shape[axis]
            padded = F.pad(smooth, sides, mode="replicate")
            smooth = torch.zeros_like(smooth)
            for tap, weight in enumerate(weights.unbind(1)):
                smooth.addcmul_(padded.narrow(axis, tap, length), weight[:, None, None, None])
        return rounded(smooth), targets

    return augment


@dataclass(frozen=True)
class Recolour(Chain):
    """Map the colours of each picture once, through the product of its links' (n,4,4) matrices.

    A matrix acts on (red, green, blue, 1) in 0..255. A link is given its picture's mean colour, (n,4,1), as the links
    before it have left it.
    """

    def __call__(self, pictures: Tensor, targets: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        values = planes(pictures)
        colour = mean_colour(values)
        maps = self.links[0](colour, draw)
        for link in self.links[1:]:
            maps = link(maps @ colour, draw) @ maps
        return rounded(recolour(values, maps)), targets


def recolour(values: Tensor, maps: Tensor) -> Tensor:
    """Send every pixel of (n,3,h,w) float pictures through its picture's (n,4,4) map."""
    return torch.baddbmm(maps[:, :3, 3:], maps[:, :3, :3], values.flatten(2)).view(values.shape)


def mean_colour(values: Tensor) -> Tensor:
    """(n,3,h,w) → (n,4,1): red, green, blue, 1."""
    return F.pad(values.mean((2, 3)), (0, 1), value=1.0)[:, :, None]


def factor(amount: float, p: float, draw: Draw) -> Tensor:
    """(n,) in 1 ± amount where drawn, else 1."""
    return 1 + draw.uniform(-amount, amount) * draw.chance(p)


def brighten(factors: Tensor) -> Tensor:
    """(n,) → (n,4,4)."""
    return matrix(4, {(channel, channel): factors for channel in range(3)})


def stretch(factors: Tensor, colour: Tensor) -> Tensor:
    """(n,) factors about the grey of the mean colours (n,4,1) → (n,4,4)."""
    grey = sum(colour[:, channel, 0] * weight for channel, weight in enumerate(LUMA))
    offset = (1 - factors) * grey
    entries = {(channel, channel): factors for channel in range(3)}
    return matrix(4, entries | {(channel, 3): offset for channel in range(3)})


def saturate(factors: Tensor) -> Tensor:
    """(n,) → (n,4,4)."""
    return matrix(
        4,
        {
            (to, source): (1 - factors) * LUMA[source] + (factors if to == source else 0)
            for to in range(3)
            for source in range(3)
        },
    )


def turn(radians: Tensor) -> Tensor:
    """(n,) angles about the grey axis of YIQ → (n,4,4)."""
    # YIQ⁻¹ · rotation · YIQ = still + cos · along + sin · across, all three of them constants of the host: a constant
    # sent to the device in every batch would make it wait
    back, space = np.linalg.inv(YIQ), np.array(YIQ)
    still, along = np.outer(back[:, 0], space[0]), back[:, 1:] @ space[1:]
    across = back[:, 1:] @ np.array([[0, -1], [1, 0]]) @ space[1:]
    cosine, sine = radians.cos(), radians.sin()
    return matrix(
        4,
        {
            (to, source): float(still[to, source])
            + float(along[to, source]) * cosine
            + float(across[to, source]) * sine
            for to in range(3)
            for source in range(3)
        },
    )
