"""Augmentations that cover parts of a picture or blend it with another one of the batch.

The partner of a picture is the one before it in the batch: batches are shuffled, so it is as random as any.
"""

import functools

import numpy as np
import torch
from torch import Tensor

from shoebox.base.errors import UsageError
from shoebox.data.draw import AUGMENTS, Augment, Draw, interleaved, number

GREY = 128
QUANTILES = 4096


@AUGMENTS.register
def cutout(*, size: float = 0.25, p: float = 1.0) -> Augment:
    """Cover a square of `size` × the side with mid-grey, with probability p. Its middle is anywhere in the picture, so
    it may hang over the edge.

    DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout" (2017).
    """
    size, p = number("cutout", "size", size, 0, 1), number("cutout", "p", p, 0, 1)

    def augment(pictures: Tensor, targets: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        sides = (draw.chance(p) * size)[:, None].expand(-1, 2)
        covered, _ = boxes(pictures, sides, draw)
        return cover(pictures, covered, GREY), targets

    return augment


@AUGMENTS.register
def erasing(*, area_low: float = 0.02, area_high: float = 0.33, ratio: float = 0.3, p: float = 0.5) -> Augment:
    """Cover a rectangle with random bytes, with probability p.

    Args:
        area_low, area_high: share of the picture's area, before what hangs over the edge is lost.
        ratio: smallest width/height; log-uniform in ratio..1/ratio.
        p: probability.

    Zhong et al., "Random Erasing Data Augmentation" (2017).
    """
    area_low = number("erasing", "area_low", area_low, 0, 1)
    area_high = number("erasing", "area_high", area_high, 0, 1)
    ratio, p = number("erasing", "ratio", ratio, 0.05, 1), number("erasing", "p", p, 0, 1)
    if area_low > area_high:
        raise UsageError(
            f"erasing(area_low={area_low:g}, area_high={area_high:g}): area_low must not be above area_high"
        )
    bound = -float(np.log(ratio))

    def augment(pictures: Tensor, targets: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        area = draw.uniform(area_low, area_high) * draw.chance(p)
        stretch = draw.uniform(-bound, bound).exp()
        covered, _ = boxes(pictures, torch.stack([(area / stretch).sqrt(), (area * stretch).sqrt()], 1), draw)
        shape = interleaved(pictures).shape
        noise = torch.randint(256, shape, generator=draw.generator, device=pictures.device, dtype=torch.uint8)
        return cover(pictures, covered, noise), targets

    return augment


@AUGMENTS.register
def mixup(*, alpha: float = 0.2, p: float = 1.0) -> Augment:
    """Blend each picture and its target with its partner's, weights from Beta(alpha, alpha), with probability p.

    Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2017).
    """
    alpha, p = number("mixup", "alpha", alpha, 0.01, 100), number("mixup", "p", p, 0, 1)

    def augment(pictures: Tensor, targets: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        share = beta(alpha, draw) * draw.chance(p)
        values = pictures.float()
        mixed = torch.lerp(values, values.roll(1, 0), share[:, None, None, None])
        return mixed.round_().to(torch.uint8), blend(targets, share)

    return augment


@AUGMENTS.register
def cutmix(*, alpha: float = 1.0, p: float = 0.5) -> Augment:
    """Paste a rectangle of its partner into each picture, with probability p; the targets mix by the share of pixels.

    The rectangle's area, before what hangs over the edge is lost, is drawn from Beta(alpha, alpha).
    Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features" (2019).
    """
    alpha, p = number("cutmix", "alpha", alpha, 0.01, 100), number("cutmix", "p", p, 0, 1)

    def augment(pictures: Tensor, targets: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        area = beta(alpha, draw) * draw.chance(p)
        pasted, share = boxes(pictures, area.sqrt()[:, None].expand(-1, 2), draw)
        return cover(pictures, pasted, interleaved(pictures).roll(1, 0)), blend(targets, share)

    return augment


def boxes(pictures: Tensor, sides: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Rectangles with their middles anywhere in the picture.

    Args:
        pictures: (n,3,h,w), for the shape.
        sides: (n,2) height and width as shares of the picture's.
        draw: where the middles come from.

    Returns:
        (n,h,w,1) bool, True inside; (n,) the share of the picture that is inside, counted in whole pixels.
    """
    inside, share = [], torch.ones_like(sides[:, 0])
    for axis, length in enumerate(pictures.shape[2:]):
        size = (sides[:, axis] * length).round()
        first = (draw.uniform(0, 1) * length - size / 2).round()
        last = (first + size).clamp(max=length)
        first = first.clamp(min=0)
        places = torch.arange(length, device=pictures.device)
        inside.append((places >= first[:, None]) & (places < last[:, None]))
        share = share * (last - first) / length
    return (inside[0][:, :, None] & inside[1][:, None, :])[..., None], share


def cover(pictures: Tensor, mask: Tensor, filling: Tensor | int) -> Tensor:
    """Put `filling` (as (n,h,w,3) uint8, or one value) where `mask` (n,h,w,1) is True."""
    return torch.where(mask, filling, interleaved(pictures)).permute(0, 3, 1, 2)


def blend(targets: Tensor, share: Tensor) -> Tensor:
    """Targets (n,K) with `share` (n,) of the partner's mixed in."""
    return torch.lerp(targets, targets.roll(1, 0), share[:, None])


@functools.cache
def beta_quantiles(alpha: float, device: torch.device) -> Tensor:
    """QUANTILES evenly spaced quantiles of Beta(alpha, alpha), float32, kept on the device after the first batch.

    Picking one of them at random draws from the distribution in a fixed number of steps; torch's own sampler rejects
    and repeats, and does not take a generator.
    """
    from scipy.special import betaincinv

    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return torch.from_numpy(betaincinv(alpha, alpha, levels).astype(np.float32)).to(device)


def beta(alpha: float, draw: Draw) -> Tensor:
    """(n,) draws from Beta(alpha, alpha)."""
    return beta_quantiles(alpha, draw.rows.device)[draw.below(QUANTILES)]
