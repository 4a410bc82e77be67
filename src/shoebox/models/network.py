"""What every network is: features, then a head; and which parts of it train.

In: pictures as normalised float batches (N, 3, H, W), channels-last or not. Out: logits (N, classes).

A network from scratch is one function, registered in `MODELS`: `MODELS.build("vgg(blocks=3)", classes, size)`.
`shoebox.models.build_model` also knows the pretrained architectures of timm, torchvision and Hugging Face.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from shoebox.base.errors import UsageError
from shoebox.base.registry import Registry


class Network(nn.Module, ABC):
    """An image classifier: `head(features(x))`.

    A subclass is final: it sets `head` in its constructor and writes `features` and `stages`. Every parameter belongs
    either to the head or to exactly one stage.
    """

    head: nn.Module
    """From features (N, D) to logits (N, classes)."""

    repeats = False
    """Whether a pass does the same with every batch of a shape: it reads nothing back from the device, and Python draws
    no random numbers. Such a network's steps are recorded where they train on a GPU (`base/replay.py`)."""

    places_at_once = 1_000_000
    """Places of pictures, side × side × pictures, that a CPU should compute at a time where no gradients are wanted.

    A network from scratch has few places in its last layers, and each of its convolutions begins with the transform of
    its filters (`base/winograd.py`): an AMD EPYC (AVX2) looked at 184 pictures of 128 px a second in batches of 24, at
    245 in batches of 64, at 294 of 128 (`speednet(width=0.875)`); at 3,900 of 32 px in batches of 256, at 4,600 of 512,
    at 4,800 of 1024 (`width=0.25`), for a quarter of a gigabyte more."""

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Pictures (N, 3, H, W), float and normalised, to one vector each: (N, D)."""

    @abstractmethod
    def stages(self) -> list[tuple[str, nn.Module]]:
        """The parts in the order a picture passes them, without the head: the units of freezing and learning rates."""

    def each(self) -> "list[Network]":
        """The networks whose answers this one's are the mean of: by default only itself."""
        return [self]

    def prepare(self, pictures: Tensor) -> None:
        """Look at some training pictures (N, 3, H, W), normalised, before the first step; by default does nothing.

        For layers that are fitted and not trained, such as a whitening layer. Called once, never on a resumed run.
        """
        del pictures

    def fixed(self) -> Iterable[nn.Parameter]:
        """Parameters that never train, whatever `freeze` is asked (those that `prepare` fits). By default none."""
        return ()

    def turn(self, share: float) -> float:
        """What of the network trains from now on, once this share of all training, 0 to 1, is done.

        By default all of it, all the time.

        Returns:
            how much of the training of that part is done, 0 to 1: what the learning rate and the like follow.
        """
        return share

    def member(self) -> int | None:
        """Which of several networks trains now, counted from 1; None where there is only one."""
        return None

    def resting(self, share: float) -> Iterable[nn.Parameter]:
        """Parameters that have learnt enough once this share of training, 0 to 1, is done (as `turn` gave it). By
        default none.

        For those whose gradients cost more than they still gain.
        """
        del share
        return ()

    def offsets(self) -> Iterable[nn.Parameter]:
        """Biases of channels whose scale is fixed, which steps far longer than other parameters' suit. By default none.

        `muon` takes them in plain gradient descent.
        """
        return ()

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, 3, H, W), float and normalised, to logits (N, classes); no subclass changes it."""
        logits: Tensor = self.head(self.features(x))
        return logits


MODELS: Registry[Callable[..., Network]] = Registry("network")
"""Networks from scratch: functions `(classes: int, size: int, *, options) -> Network`; `size` is the side, px."""


def freeze(network: Network, trainable: Literal["all", "head"] | int = "all") -> int:
    """Choose which parameters train, by their `requires_grad`.

    Args:
        network: changed in place.
        trainable: "all", "head" only, or the head and that many of the last stages.

    Returns:
        how many numbers train now.

    Raises:
        UsageError: another word, or more stages than there are.
    """
    stages = network.stages()
    if isinstance(trainable, str):
        if trainable not in ("all", "head"):
            raise UsageError(f"trainable={trainable!r}: expected 'all', 'head' or a number of last stages")
        count = len(stages) if trainable == "all" else 0
    else:
        count = trainable
    if not 0 <= count <= len(stages):
        names = ", ".join(name for name, _ in stages)
        raise UsageError(f"trainable={count}: this network has {len(stages)} stages ({names})")
    network.requires_grad_(False)
    network.head.requires_grad_(True)
    for _, stage in stages[len(stages) - count :]:
        stage.requires_grad_(True)
    for parameter in network.fixed():
        parameter.requires_grad_(False)
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def set_training(network: Network, *, statistics: bool = True) -> None:
    """Training mode for what trains, evaluation mode for what is frozen; called before each epoch instead of `train()`.

    A frozen stage must stay as the pretrained weights left it, so its batch norms keep their statistics and its
    dropouts do nothing. A stage without parameters goes with the one before it. Without `statistics`, batch norms
    keep theirs everywhere, which serves a fine-tuning in small batches.
    """
    network.train()
    frozen = False
    for _, stage in network.stages():
        parameters = list(stage.parameters())
        if parameters:
            frozen = not any(p.requires_grad for p in parameters)
        stage.train(not frozen)
    if not statistics:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                module.eval()


def small_normal_(layer: nn.Linear) -> None:
    """A fresh head: weights near zero so that training starts from an even guess, biases zero (in place)."""
    with torch.no_grad():
        normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)


def normal_(weight: Tensor, std: float) -> None:
    """Fill `weight` with normal numbers around zero (in place).

    On the device "meta" there is nothing to fill, and torch would import its compiler to do so: a second.
    """
    if not weight.is_meta:
        nn.init.normal_(weight, std=std)
