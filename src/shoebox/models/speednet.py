"""speednet: the fast network of the CIFAR-10 speed records, scaled to the picture's size. The default from scratch.

The picture is mirrored at its edge by as much as makes the maps 32, 16, 8 and 4 px wide for 32 px: whole squares of
what a convolution computes at a time. A frozen layer of small filters whitens its patches; then come three or four
blocks of two 3×3 convolutions, each block halving the picture; the maximum over what is left feeds one linear head. A
block may have a third convolution, bridged together with the second by a sum, as the record's network for 96 % has.
Filters start as the identity (dirac), so that the first step already sees the picture. After Jordan, "94% on CIFAR-10
in 3.29 seconds on a single GPU", arXiv:2404.00498, and the same author's cifar10-airbench; written anew for any
picture size.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shoebox.base.errors import UsageError
from shoebox.base.norm import gelu, norm_gelu
from shoebox.base.winograd import Conv3x3, PooledConv3x3, halves_wanted
from shoebox.models.ensemble import Ensemble
from shoebox.models.network import MODELS, Network, normal_

SMALLEST = 16
BIAS_TRAINS = 0.2
"""Share of training in which the whitening's bias trains. Nothing else needs the gradient of the first convolution's
input: without it a step was seen to take 0.86 (width 0.5) to 0.93 (width 0.75) of its time on a CPU."""

AT_ONCE = 1 << 18
"""Numbers of pictures whose patches are made at a time, so that they stay in a cache."""


class Whitening(nn.Conv2d):
    """Patches projected on the directions in which the training pictures vary, each scaled to unit variance, and their
    negatives. Its filters are fitted by `fit`, never trained; its bias trains."""

    def __init__(self, patch: int, stride: int, directions: int) -> None:
        super().__init__(3, 2 * directions, patch, stride)
        self.directions = directions
        self.weight.requires_grad_(False)
        self.bias = nn.Parameter(torch.zeros(2 * directions))

    def fit(self, pictures: Tensor, floor: float = 5e-4) -> None:
        """Set the filters from the eigenvectors of the covariance of patches.

        Args:
            pictures: (N, 3, H, W) float, normalised.
            floor: added to each eigenvalue, so that noise is not blown up.
        """
        side, stride = self.kernel_size[0], self.stride[0]
        total, count = torch.zeros(3 * side * side, 3 * side * side, dtype=torch.float64, device=pictures.device), 0
        for some in pictures.float().split(max(1, AT_ONCE // pictures[0].numel())):
            patches = F.unfold(some, side, stride=stride)
            total += (patches @ patches.transpose(1, 2)).sum(0)
            count += patches.shape[0] * patches.shape[2]
        # float64: the smallest eigenvalues are 10⁴ times smaller than the largest.
        covariance = total / count
        values, vectors = torch.linalg.eigh(covariance)
        strongest = vectors[:, -self.directions :] / (values[-self.directions :] + floor).sqrt()
        filters = strongest.T.reshape(-1, 3, side, side).to(self.weight)
        with torch.no_grad():
            self.weight.copy_(torch.cat([filters, -filters]))


class FixedScaleBatchNorm(nn.BatchNorm2d):
    """Batch norm whose scale stays 1 (the next convolution learns it) and whose statistics follow quickly, since a
    whole training may be a few hundred steps."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-5, momentum=0.4)
        self.weight.requires_grad_(False)


class Block(nn.Module):
    """conv – maxpool – norm – GELU – conv – norm – GELU: (N, width_in, H, W) → (N, width, H/2, W/2).

    Of depth 3, another conv – norm – GELU follows, and the first GELU's output is added to the last one's.
    """

    def __init__(self, width_in: int, width: int, depth: int) -> None:
        super().__init__()
        self.conv1 = _identity(PooledConv3x3(width_in, width, bias=False))
        self.norm1 = FixedScaleBatchNorm(width)
        self.conv2 = _identity(Conv3x3(width, width, bias=False))
        self.norm2 = FixedScaleBatchNorm(width)
        self.deep = depth == 3
        if self.deep:
            self.conv3 = _identity(Conv3x3(width, width, bias=False))
            self.norm3 = FixedScaleBatchNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = norm_gelu(self.norm1, self.conv1(x))
        y = norm_gelu(self.norm2, self.conv2(x))
        return x + norm_gelu(self.norm3, self.conv3(y)) if self.deep else y


class SpeedNet(Network):
    """See the module's docstring.

    Args:
        classes: how many logits.
        widths: channels of each block.
        patch, stride: side and step of the whitening patches, px.
        depth: convolutions of a block, 2 or 3.
    """

    repeats = True

    def __init__(self, classes: int, widths: tuple[int, ...], patch: int, stride: int, depth: int = 2) -> None:
        super().__init__()
        # Python's own number is used, so that nothing waits for a device; the tensor is saved with the weights.
        self.edge = patch - stride
        self.register_buffer("border", torch.tensor(self.edge))
        self.whiten = Whitening(patch, stride, directions=min(3 * patch * patch, 24))
        before = (self.whiten.out_channels, *widths)
        self.blocks = nn.ModuleList(Block(i, o, depth) for i, o in zip(before, widths, strict=False))
        self.head = nn.Linear(widths[-1], classes, bias=False)
        # The scale of the logits at the start: features are maxima of roughly normal values, so near 1.
        normal_(self.head.weight, std=1 / widths[-1])

    def features(self, x: Tensor) -> Tensor:
        before = self.edge // 2
        x = gelu(self.whiten(F.pad(x, (before, self.edge - before) * 2, "reflect") if self.edge else x))
        if halves_wanted():
            x = x.bfloat16()
        for block in self.blocks:
            x = block(x)
        return x.amax(dim=(2, 3)).type_as(self.whiten.weight)

    def stages(self) -> list[tuple[str, nn.Module]]:
        return [("whiten", self.whiten), *((f"blocks.{i}", block) for i, block in enumerate(self.blocks))]

    def prepare(self, pictures: Tensor) -> None:
        self.whiten.fit(pictures)

    def resting(self, share: float) -> Iterable[nn.Parameter]:
        return (p for name, p in self.whiten.named_parameters() if name == "bias" and share >= BIAS_TRAINS)

    def offsets(self) -> Iterable[nn.Parameter]:
        return [module.get_parameter("bias") for module in (self.whiten, *self._norms())]

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        # Weights that were saved before there was a border were trained without one.
        self.edge = int(state_dict.setdefault(f"{prefix}border", torch.tensor(0)))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def fixed(self) -> Iterable[nn.Parameter]:
        return [module.get_parameter("weight") for module in (self.whiten, *self._norms())]

    def _norms(self) -> list[FixedScaleBatchNorm]:
        return [module for module in self.modules() if isinstance(module, FixedScaleBatchNorm)]


@MODELS.register
def speednet(
    classes: int, size: int, *, width: float = 1.0, blocks: int | None = None, depth: int = 2, members: int = 1
) -> Network:
    """A fast net of the kind that holds the CIFAR-10 speed records.

    Args:
        width: multiplies the channels of every block (64, 256, 256 at 32 px), rounded to whole 16s.
        blocks: how many times the picture is halved; by default 3 up to 48 px, 4 above.
        depth: convolutions of a block, 2 or 3.
        members: how many such networks train in turn and answer together.

    Raises:
        UsageError: the picture is too small for that many halvings, or an option is out of its range.
    """
    if width <= 0:
        raise UsageError(f"speednet(width={width}): expected a number above 0")
    if depth not in (2, 3):
        raise UsageError(f"speednet(depth={depth}): expected 2 or 3")
    if members < 1:
        raise UsageError(f"speednet(members={members}): expected 1 or more")
    stride = max(1, round(size / 64))
    patch = 2 * stride
    side = (size - patch) // stride + 1
    count = blocks or (3 if side <= 48 else 4)
    if size < SMALLEST and blocks is None:
        count = 2
    if side < 2**count:
        raise UsageError(f"speednet with {count} blocks needs pictures of at least {2**count + 1} px, not {size}")
    base = (64, 256, 256) if count <= 3 else (64, 128, 256, *(256,) * (count - 3))
    widths = tuple(max(16, round(w * width / 16) * 16) for w in base[:count])
    made = [SpeedNet(classes, widths, patch, stride, depth) for _ in range(members)]
    return made[0] if members == 1 else Ensemble(made)


def _identity(conv: nn.Conv2d) -> nn.Conv2d:
    with torch.no_grad():
        nn.init.dirac_(conv.weight[: conv.in_channels])
    return conv
