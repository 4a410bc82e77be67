"""Preprocess: how a picture of any size becomes the square of numbers a network sees.

It is part of a saved classifier, so that training and prediction cannot differ. `store`, `fit` and `interpolation` are
applied by `shoebox.data.picture.load`; the others by the classifier's own layers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from shoebox.base.errors import UsageError
from shoebox.base.registry import parse_spec

Fit = Literal["squash", "crop", "pad"]
Interpolation = Literal["bicubic", "bilinear", "lanczos"]

# The mean and standard deviation of ImageNet's training pictures, as every published backbone uses them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# 4096² pixels of RGB are 48 MiB a picture: a larger square is a slip of the keyboard.
MAX_SIDE = 4096


@dataclass(frozen=True)
class Preprocess:
    """From a picture to the network's input.

    Attributes:
        store: side of the square that is stored, in pixels.
        size: side of the square that the network sees, in pixels.
        fit: "squash" ignores the aspect ratio and hides nothing of the picture, which is why it is the default; "crop"
            takes the centre square; "pad" keeps the whole picture and its shape between grey (128) bars.
        interpolation: the filter of the resize; all three are antialiased.
        mean, std: of the red, green and blue channel on a scale of 0 to 1.
        mirror: what the network's head sees is the mean over the picture and its mirror image.
        shift: it is the mean over the picture and it moved by `step` up and left, and down and right; with `mirror`,
            over the mirror images of these three too.

    Raises:
        UsageError: a value is out of its range; the message names it.
    """

    store: int
    size: int
    fit: Fit = "squash"
    interpolation: Interpolation = "bicubic"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    mirror: bool = False
    shift: bool = False

    def __post_init__(self) -> None:
        for name in ("mirror", "shift"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name} is {getattr(self, name)!r}: expected true or false")
        for name in ("store", "size"):
            side = getattr(self, name)
            if type(side) is not int or not 1 <= side <= MAX_SIDE:
                raise UsageError(f"{name} is {side!r}: expected a whole number of pixels from 1 to {MAX_SIDE}")
        for name, choices in (("fit", get_args(Fit)), ("interpolation", get_args(Interpolation))):
            if getattr(self, name) not in choices:
                raise UsageError(f"{name} is {getattr(self, name)!r}: choose from {', '.join(choices)}")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if not (isinstance(values, tuple) and len(values) == 3 and all(_is_number(v) for v in values)):
                raise UsageError(f"{name} is {values!r}: expected three numbers, one a colour")
        if min(self.std) <= 0:
            raise UsageError(f"std is {self.std}: every value must be above 0, since pictures are divided by it")

    @property
    def looks(self) -> int:
        """How many versions of a picture the network computes for one answer."""
        return (3 if self.shift else 1) * (2 if self.mirror else 1)

    @property
    def step(self) -> int:
        """How far `shift` moves, px: a 32nd of the side."""
        return max(1, round(self.size / 32))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` reads them back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocess":
        """The reverse of `to_dict`.

        Raises:
            UsageError: a key is unknown or missing, or a value is out of its range.
        """
        known = [f.name for f in fields(cls)]
        for key in values:
            if key not in known:
                raise UsageError(f"preprocessing has no setting {key!r}: its settings are {', '.join(known)}")
        for key in ("store", "size"):
            if key not in values:
                raise UsageError(f"preprocessing lacks the setting {key!r}")
        settings: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**settings)


def mirrors(augment: Sequence[str]) -> bool:
    """Whether augmentations show pictures left–right mirrored, so that a mirrored one may be taken for the same."""
    return any(parse_spec(spec)[0] in ("flip", "flip_alternating") for spec in augment)


def translates(augment: Sequence[str]) -> bool:
    """Whether augmentations move pictures by whole pixels, so that one moved a little may be taken for the same."""
    return any(parse_spec(spec)[0] == "translate" for spec in augment)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
