"""Augmentations by name, and a list of them as one: `compose(["flip(p=0.5)", "translate(pixels=4)"])`.

In: a batch of uint8 pictures on the device, their target probabilities, and a Draw. Out: the same, augmented.

    geometry.py  flip, flip_alternating, flip_vertical, translate, rotate, shift, zoom, random_resized_crop
    colour.py    brightness, contrast, saturation, hue, grayscale, blur
    mixing.py    cutout, erasing, mixup, cutmix
    policy.py    randaugment, trivialaugment

A new one is a function under @AUGMENTS.register that checks its options and returns an Augment.
"""

from collections.abc import Sequence

from torch import Tensor

from shoebox.data import colour, geometry, mixing, policy
from shoebox.data.draw import AUGMENTS, Augment, Chain, Draw

__all__ = ["AUGMENTS", "Augment", "Draw", "compose"]

# importing these modules is what fills the registry
FAMILIES = (geometry, colour, mixing, policy)


def compose(specs: Sequence[str]) -> Augment:
    """One augmentation that applies several in order; none at all gives the pictures back.

    Neighbours that resample (rotate, shift, zoom, random_resized_crop) or that map colours (brightness, contrast,
    saturation, hue, grayscale) become one pass. Draws are made in the listed order all the same.

    Args:
        specs: such as "rotate(degrees=10, p=0.25)".

    Raises:
        UsageError: an unknown name or option, or a value out of range; before any picture is seen.
    """
    steps: list[Augment] = []
    for spec in specs:
        step = AUGMENTS.build(spec)
        last = steps[-1] if steps else None
        if isinstance(last, Chain) and type(last) is type(step):
            steps[-1] = last.then(step)
        else:
            steps.append(step)

    def augment(pictures: Tensor, targets: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        for step in steps:
            pictures, targets = step(pictures, targets, draw)
        return pictures, targets

    return augment
