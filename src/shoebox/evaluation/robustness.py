"""Robustness: how accuracy falls as pictures get noisy, blurred, brighter, darker, compressed, turned or cropped.

In: stored pictures, their labels, and a function from pictures to logits. Out: the accuracy under each corruption at
each severity. The kinds are Hendrycks and Dietterich's (2019, arxiv.org/abs/1903.12261), their strengths ours: they are
measured in shares of the picture's side and range, so that they mean the same at 32 and at 224 px.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from shoebox.base.errors import UsageError
from shoebox.base.progress import QUIET, Progress
from shoebox.base.registry import Registry
from shoebox.data.pack import Pack, Stream
from shoebox.data.picture import decode
from shoebox.evaluation.intervals import wilson

SEVERITIES = (1, 2, 3, 4, 5)
MOST = 2000  # pictures looked at: they place an accuracy within 2 points
CHUNK = 256

Corruption = Callable[[Tensor, int, torch.Generator], Tensor]

CORRUPTIONS: Registry[Corruption] = Registry("corruption")
"""Functions (uint8 (N, 3, S, S), severity 1…5, a generator for what is random) -> uint8 of the same shape."""


@CORRUPTIONS.register
def noise(pictures: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Gaussian noise of 4, 8, 12, 18 or 26 % of the range."""
    sigma = 255 * (0.04, 0.08, 0.12, 0.18, 0.26)[severity - 1]
    return _bytes(pictures + sigma * torch.randn(pictures.shape, generator=generator))


@CORRUPTIONS.register
def blur(pictures: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Gaussian blur whose standard deviation is 1.5, 2, 3, 4.5 or 6 % of the side."""
    side = pictures.shape[-1]
    sigma = side * (0.015, 0.02, 0.03, 0.045, 0.06)[severity - 1]
    reach = min(max(1, round(3 * sigma)), side - 1)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).view(1, 1, 1, -1)
    planes = F.pad(pictures.float().flatten(0, 1)[:, None], [reach] * 4, mode="reflect")
    return _bytes(F.conv2d(F.conv2d(planes, weights), weights.transpose(2, 3))[:, 0].view(pictures.shape))


@CORRUPTIONS.register
def brighter(pictures: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """10, 20, 30, 40 or 50 % of the range added."""
    return _bytes(pictures + 25.5 * severity)


@CORRUPTIONS.register
def darker(pictures: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """10, 20, 30, 40 or 50 % of the range taken away."""
    return _bytes(pictures - 25.5 * severity)


@CORRUPTIONS.register
def jpeg(pictures: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Stored as JPEG of quality 80, 50, 25, 15 or 10."""
    from PIL import Image

    quality = (80, 50, 25, 15, 10)[severity - 1]
    decoded = []
    for picture in pictures.permute(0, 2, 3, 1).numpy():
        stored = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(picture)).save(stored, "JPEG", quality=quality)
        decoded.append(decode(stored.getvalue()))
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2)


@CORRUPTIONS.register
def rotation(pictures: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Turned by 5, 10, 15, 25 or 40 degrees, each picture left or right; mirrored past its edges."""
    angle = np.deg2rad((5, 10, 15, 25, 40)[severity - 1])
    turn = angle * (torch.randint(2, (len(pictures),), generator=generator) * 2 - 1)
    zero = torch.zeros(len(pictures))
    rows = [torch.stack([turn.cos(), -turn.sin(), zero], 1), torch.stack([turn.sin(), turn.cos(), zero], 1)]
    return _sampled(pictures, torch.stack(rows, 1).float())


@CORRUPTIONS.register
def crop(pictures: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """A square of 90, 80, 70, 60 or 50 % of the side, anywhere in the picture, enlarged to the whole."""
    share = 1 - severity / 10
    shift = (torch.rand((len(pictures), 2, 1), generator=generator) * 2 - 1) * (1 - share)
    return _sampled(pictures, torch.cat([share * torch.eye(2).expand(len(pictures), 2, 2), shift], 2))


@dataclass(frozen=True)
class Robustness:
    """Accuracy under one corruption.

    Attributes:
        corruption: a name of `CORRUPTIONS`, or "none".
        severity: 1…5, or 0 for "none".
        accuracy, low, high: the share that is right, with its 95 % interval (Wilson).
    """

    corruption: str
    severity: int
    accuracy: float
    low: float
    high: float


def robustness(
    score: Callable[[Tensor], Tensor],
    packed: Pack | Stream,
    rows: NDArray[np.int64],
    *,
    names: Sequence[str] | None = None,
    severities: Sequence[int] = (1, 3, 5),
    most: int = MOST,
    seed: int = 0,
    progress: Progress = QUIET,
) -> list[Robustness]:
    """Measure accuracy on corrupted pictures.

    Args:
        score: pictures uint8 (n, 3, S, S) on the CPU -> logits (n, K).
        packed: holds the pictures, as stored.
        rows: (N,) labelled rows of it; of more than `most` a random choice is looked at.
        names: corruptions; all by default.
        seed: of the choice and of what is random in a corruption.

    Returns:
        first "none", then every corruption at every severity.

    Raises:
        UsageError: no such corruption, a severity not in 1…5, or no rows.
    """
    names = list(CORRUPTIONS) if names is None else list(names)
    for name in names:
        CORRUPTIONS.check(name)
    if not set(severities) <= set(SEVERITIES):
        raise UsageError(f"severities {list(severities)}: expected numbers from 1 to 5")
    if not len(rows):
        raise UsageError("there are no labelled pictures to corrupt")
    chosen = np.sort(np.random.default_rng(seed).permutation(rows)[:most])
    labels = torch.from_numpy(packed.index.labels[chosen])
    plan: list[tuple[str, int]] = [("none", 0), *((name, severity) for name in names for severity in severities)]
    right = dict.fromkeys(plan, 0)
    starts = range(0, len(chosen), CHUNK)
    for start in progress.track(starts, len(starts), "corrupting pictures"):
        here = slice(start, start + CHUNK)
        pictures = torch.from_numpy(packed.gather(chosen[here])).permute(0, 3, 1, 2)
        for name, severity in plan:
            generator = torch.Generator().manual_seed(seed + start)
            seen = CORRUPTIONS[name](pictures, severity, generator) if severity else pictures
            right[name, severity] += int((score(seen).argmax(1).cpu() == labels[here]).sum())
    return [
        Robustness(name, severity, hits / len(chosen), *wilson(hits, len(chosen)))
        for (name, severity), hits in right.items()
    ]


def _sampled(pictures: Tensor, matrices: Tensor) -> Tensor:
    """Resampled through (N, 2, 3) maps from the new place to the old one, both in -1…1."""
    grid = F.affine_grid(matrices, list(pictures.shape), align_corners=False)
    return _bytes(F.grid_sample(pictures.float(), grid, padding_mode="reflection", align_corners=False))


def _bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)
