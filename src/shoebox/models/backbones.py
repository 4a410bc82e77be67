"""A short list of pretrained backbones worth starting from, with what they cost and what they reached.

Any other name of timm, torchvision or Hugging Face works too; these are only the ones that `shoebox models` shows, and
among which a training chooses where nobody named a network.
"""

from dataclasses import dataclass

from shoebox.base.progress import Progress
from shoebox.models.hub import fetch_listed, listed_on_disk


@dataclass(frozen=True)
class Backbone:
    """One pretrained network of timm.

    `parameters` and `gmacs` are counted by `shoebox.models.summary` with the 1,000-class head at `size`; a test counts
    some again. `top1` is ImageNet-1k validation accuracy as timm publishes it (results/results-imagenet.csv, commit
    0173a139), measured at `top1_size`. `licence` is the weights', as timm's configuration states it.
    """

    name: str
    parameters: float
    """Millions."""
    gmacs: float
    """Multiply-adds of one picture, 10⁹."""
    size: int
    """The side the weights were trained with, px."""
    top1: float
    """Per cent."""
    top1_size: int
    """The side `top1` was measured with, px."""
    licence: str


PRETRAINED: tuple[Backbone, ...] = (
    Backbone("timm:mobilenetv3_small_100.lamb_in1k", 2.54, 0.06, 224, 67.656, 224, "apache-2.0"),
    Backbone("timm:mobilenetv2_100.ra_in1k", 3.50, 0.30, 224, 72.976, 224, "apache-2.0"),
    Backbone("timm:efficientnet_b0.ra_in1k", 5.29, 0.39, 224, 77.694, 224, "apache-2.0"),
    Backbone("timm:convnext_atto.d2_in1k", 3.70, 0.55, 224, 77.008, 288, "apache-2.0"),
    Backbone("timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k", 5.72, 1.25, 224, 75.454, 224, "apache-2.0"),
    Backbone("timm:resnet18.a1_in1k", 11.69, 1.81, 224, 73.158, 288, "apache-2.0"),
    Backbone("timm:resnet34.a1_in1k", 21.80, 3.66, 224, 77.918, 288, "apache-2.0"),
    Backbone("timm:resnet50.a1_in1k", 25.56, 4.09, 224, 81.214, 288, "apache-2.0"),
    Backbone("timm:convnext_tiny.in12k_ft_in1k", 28.59, 4.46, 224, 84.450, 288, "apache-2.0"),
    Backbone("timm:vit_small_patch16_224.augreg_in21k_ft_in1k", 22.05, 4.60, 224, 81.384, 224, "apache-2.0"),
    Backbone("timm:efficientnetv2_rw_s.ra2_in1k", 23.94, 4.86, 288, 83.808, 384, "apache-2.0"),
    Backbone("timm:resnet101.a1h_in1k", 44.55, 7.80, 224, 82.778, 288, "apache-2.0"),
    Backbone("timm:inception_resnet_v2.tf_in1k", 55.84, 13.16, 299, 80.462, 299, "apache-2.0"),
)

FOR_CPU, FOR_GPU = "timm:mobilenetv2_100.ra_in1k", "timm:convnext_tiny.in12k_ft_in1k"
"""Fetched where nobody named a network and none of the list is on this disk."""

LIGHT = 0.6
"""Billions of multiply-adds that a processor without a GPU computes gladly."""


def usual_backbone(device: str) -> str:
    """The network to start from where nobody named one: the most accurate on this disk that suits the device.

    Where there is none on this disk, the one to fetch.
    """
    gpu = not device.startswith("cpu")
    here = [b for b in PRETRAINED if (gpu or b.gmacs <= LIGHT) and listed_on_disk(b.name)]
    if here:
        return max(here, key=lambda b: b.top1).name
    return FOR_GPU if gpu else FOR_CPU


def fetch_backbone(name: str, progress: Progress) -> None:
    """See that the weights of one of the list are on this disk.

    Raises:
        ShoeboxError: they are not, and cannot be fetched; known within seconds.
    """
    if not listed_on_disk(name):
        listed = next(b for b in PRETRAINED if b.name == name)
        # Four bytes a number.
        fetch_listed(name, lambda: progress.say(f"fetching {name}, {4 * listed.parameters:,.0f} MB, this once"))


@dataclass(frozen=True)
class BackboneRow:
    """One backbone as `shoebox models --pretrained` lists it."""

    name: str
    on_disk: bool
    parameters: float
    """Millions."""
    gmacs: float
    size: int
    top1: float
    licence: str


def list_backbones() -> list[BackboneRow]:
    """The list, lightest first, and which of it is on this disk; asks no network."""
    return [
        BackboneRow(b.name, listed_on_disk(b.name), b.parameters, b.gmacs, b.size, b.top1, b.licence)
        for b in sorted(PRETRAINED, key=lambda b: b.gmacs)
    ]
