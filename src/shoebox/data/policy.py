"""Augmentation policies: draw operations per picture instead of naming them.

`randaugment` and `trivialaugment` share one set of operations, applied to a whole batch at once: every picture gets
parameters for all of them, and those that were not drawn get the parameters that change nothing. All geometry is then
one resampling and all colour one matrix product, however many operations are drawn.

Differences from the papers: no sharpness and no equalize (a histogram per picture costs more than all the rest);
geometry comes before colour, and posterize and solarize come last, whatever the order of drawing; what leaves the
picture is mirrored instead of grey; a picture that draws posterize or solarize twice gets the stronger one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from shoebox.data.colour import brighten, mean_colour, recolour, saturate, stretch
from shoebox.data.draw import AUGMENTS, Augment, Draw, matrix, number, planes, rounded, whole
from shoebox.data.geometry import rotation, warp

OPERATIONS = (
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate",
    "brightness", "contrast", "saturation", "autocontrast", "posterize", "solarize",
)  # fmt: skip


@dataclass(frozen=True)
class Ranges:
    """How far the operations go at full strength.

    Args:
        shear: tangent of the angle.
        translate: share of the side.
        rotate: degrees.
        enhance: brightness, contrast and saturation are multiplied by 1 ± this.
        posterize: bits taken from the 8 of each channel.
    """

    shear: float
    translate: float
    rotate: float
    enhance: float
    posterize: int


STANDARD = Ranges(shear=0.3, translate=0.45, rotate=30, enhance=0.9, posterize=4)
# the paper's translation of 32 px means the whole of a small picture and a seventh of a usual one
WIDE = Ranges(shear=0.99, translate=0.45, rotate=135, enhance=0.99, posterize=6)


@AUGMENTS.register
def randaugment(*, count: int = 2, magnitude: float = 9) -> Augment:
    """`count` operations per picture, drawn with repetition, all at strength magnitude/10, signs at random.

    Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space" (2019).
    """
    count = whole("randaugment", "count", count, 0, 10)
    strength = number("randaugment", "magnitude", magnitude, 0, 10) / 10

    def augment(pictures: Tensor, targets: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        slots = [Slot(draw.below(len(OPERATIONS)), strength * sign(draw)) for _ in range(count)]
        return apply(pictures, slots, STANDARD), targets

    return augment


@AUGMENTS.register
def trivialaugment(*, p: float = 1.0) -> Augment:
    """One operation per picture at a strength uniform in 0..1, with wide ranges, with probability p.

    Müller and Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation" (2021).
    """
    p = number("trivialaugment", "p", p, 0, 1)

    def augment(pictures: Tensor, targets: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        slot = Slot(draw.below(len(OPERATIONS)) * draw.chance(p), draw.uniform(0, 1) * sign(draw))
        return apply(pictures, [slot], WIDE), targets

    return augment


def sign(draw: Draw) -> Tensor:
    """(n,) of -1.0 and 1.0."""
    return draw.below(2) * 2.0 - 1


@dataclass(frozen=True)
class Slot:
    """One drawn operation per picture.

    Args:
        operation: (n,) int64, an index into OPERATIONS.
        strength: (n,) float32 in -1..1; operations without a direction use its size.
    """

    operation: Tensor
    strength: Tensor

    def of(self, operation: str, at_most: float = 1.0) -> Tensor:
        """(n,) the strength times `at_most` where this operation was drawn, else 0."""
        return self.strength * at_most * (self.operation == OPERATIONS.index(operation))

    def geometry(self, ranges: Ranges) -> Tensor:
        """(n,3,3) for warp()."""
        # coordinates run from -1 to 1: a whole side is 2
        moved = {
            (0, 1): self.of("shear_x", ranges.shear),
            (1, 0): self.of("shear_y", ranges.shear),
            (0, 2): self.of("translate_x", 2 * ranges.translate),
            (1, 2): self.of("translate_y", 2 * ranges.translate),
        }
        return rotation(torch.deg2rad(self.of("rotate", ranges.rotate))) @ matrix(3, moved)

    def colours(self, colour: Tensor, ranges: Ranges) -> Tensor:
        """(n,4,4) for recolour(), given the mean colours (n,4,1). At most one of the three factors is not 1."""
        brightness, contrast, saturation = (
            1 + self.of(name, ranges.enhance) for name in ("brightness", "contrast", "saturation")
        )
        return brighten(brightness) @ stretch(contrast, colour) @ saturate(saturation)


def apply(pictures: Tensor, slots: list[Slot], ranges: Ranges) -> Tensor:
    """Carry out the operations of all slots on uint8 pictures: warp, recolour, posterize, solarize."""
    if not slots:
        return pictures
    maps = slots[0].geometry(ranges)
    for slot in slots[1:]:
        maps = maps @ slot.geometry(ranges)
    values = warp(planes(pictures), maps)

    chosen = torch.stack([slot.of("autocontrast") != 0 for slot in slots]).any(0)
    maps, colour = spread(values, chosen), mean_colour(values)
    for slot in slots:
        maps = slot.colours(maps @ colour, ranges) @ maps
    values = recolour(values, maps).clamp_(0, 255)

    strongest = torch.stack([slot.of("solarize").abs() for slot in slots]).amax(0)
    threshold = (256 * (1 - strongest))[:, None, None, None]
    result = rounded(torch.where(values >= threshold, 255 - values, values))

    lost = torch.stack([slot.of("posterize", ranges.posterize).abs() for slot in slots]).amax(0).round()
    return result & (256 - 2**lost).to(torch.uint8)[:, None, None, None]


def spread(values: Tensor, chosen: Tensor) -> Tensor:
    """(n,4,4) maps sending each channel's darkest value to 0 and its lightest to 255, in the chosen (n,) pictures."""
    low, high = values.amin((2, 3)), values.amax((2, 3))
    chosen = chosen[:, None] & (high > low)
    scale = torch.where(chosen, 255 / (high - low).clamp(min=1e-6), 1.0)
    offset = torch.where(chosen, -low * scale, 0.0)
    return matrix(4, {(c, c): scale[:, c] for c in range(3)} | {(c, 3): offset[:, c] for c in range(3)})
