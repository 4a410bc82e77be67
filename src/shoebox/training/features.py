"""What a frozen trunk makes of every picture: computed once, kept on disk, found again.

In: a pretrained network that stays as it is, and a pack. Out: float16 features of every picture (N, D) and, where asked
for, the activations at a boundary within the trunk, from the same pass. Kept under a key of the pack, the weights, the
picture size, the view and the arithmetic, so that a second run computes nothing.

A view is the picture as it is (0) or as the recipe's augmentations make it, drawn from (seed, view, place) alone.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shoebox.base.progress import QUIET, Progress
from shoebox.base.runtime import Runtime, derive_seed
from shoebox.data.augment import compose
from shoebox.data.batches import batches
from shoebox.data.draw import Draw
from shoebox.data.pack import Pack, Stream
from shoebox.data.rows import Rows, open_rows
from shoebox.models import Pretrained
from shoebox.models.folding import fold
from shoebox.pipeline import Pipeline
from shoebox.training.boundary import Boundary

LAYOUT = 1
"""To be raised when the same key would stand for other numbers."""

GAIN = 1.15
"""How much faster another arithmetic must be before it is used: below, noise chooses."""

ROUNDING = 0.06
"""Largest mean difference of features in bf16 from those in float32, as a share of their mean size. MobileNetV2 shows
0.04: a head fitted on such features and used on float32 ones scored the same 0.941 on hymenoptera, at the same loss."""


TIMING = 0.5
"""Seconds that are enough to time one arithmetic."""


@dataclass(frozen=True)
class View:
    """One look at every picture.

    Attributes:
        number: 0 is the picture as it is; the others are augmented.
        augment: how, as a recipe lists it.
        seed: of the draws.
    """

    number: int = 0
    augment: tuple[str, ...] = ()
    seed: int = 0

    @property
    def specs(self) -> tuple[str, ...]:
        """The augmentations that apply."""
        return self.augment if self.number else ()


@dataclass
class Trunk:
    """A frozen network ready to compute features fast: batch norms folded, channels-last, in the arithmetic chosen.

    Attributes:
        pipeline: with the folded copy.
        runtime: device and arithmetic of the features.
        digest: of weights and architecture, the head left out.
        rate: pictures a second, where it was measured.
        batch: pictures at a time.
    """

    pipeline: Pipeline
    runtime: Runtime
    digest: str
    rate: float = 0.0
    batch: int = field(init=False)

    def __post_init__(self) -> None:
        self.batch = 64 if self.runtime.device == "cpu" else 256

    def __call__(self, stored: Tensor, boundary: Boundary | None) -> tuple[Tensor, Tensor | None]:
        """Features (n, D) of stored pixels uint8, and what crosses the boundary."""
        caught: list[Tensor] = []
        network = self.pipeline.network
        at = None if boundary is None else network.get_submodule(boundary.name)
        handle = at and at.register_forward_hook(lambda module, inputs, output: caught.append(output))
        try:
            with torch.inference_mode(), self.runtime.autocast():
                features = network.features(self.pipeline.inputs(stored))
        finally:
            if handle:
                handle.remove()
        return features, caught[0] if caught else None


def make_trunk(pipeline: Pipeline, runtime: Runtime, sample: Tensor) -> Trunk:
    """A folded copy of a pipeline's network that computes in the runtime's arithmetic.

    Args:
        sample: a few inputs of the network (n, 3, S, S).
    """
    network = pipeline.network
    assert isinstance(network, Pretrained)
    fast = Pipeline(fold(network, sample), pipeline.preprocess).place(runtime.device).eval()
    return Trunk(fast, runtime, weights_digest(network))


def open_trunk(pipeline: Pipeline, runtime: Runtime, stored: Tensor) -> Trunk:
    """A trunk in the faster arithmetic of float32 and the runtime's, measured on some pictures.

    bf16 serves where it is faster and its features are those of float32 within `ROUNDING`; the head fitted on them
    will be used with float32 ones.

    Args:
        stored: pictures (n, 3, S, S) uint8.
    """
    stored = stored.to(runtime.device)
    trunk = make_trunk(pipeline, replace(runtime, precision="fp32"), pipeline.inputs(stored[:4]))
    exact, trunk.rate = _timed(trunk, stored)
    if runtime.precision == "fp32":
        return trunk
    half = replace(trunk, runtime=runtime)
    rounded, half.rate = _timed(half, stored)
    difference = float((rounded - exact).abs().mean() / exact.abs().mean().clamp_min(1e-12))
    return half if half.rate > GAIN * trunk.rate and difference <= ROUNDING else trunk


def _timed(trunk: Trunk, stored: Tensor) -> tuple[Tensor, float]:
    """The features, and pictures a second of the fastest of two to four rounds."""
    seconds: list[float] = []
    while len(seconds) < 2 or (sum(seconds) < TIMING and len(seconds) < 4):
        start = time.perf_counter()
        features = trunk(stored, None)[0].float().cpu()
        seconds.append(time.perf_counter() - start)
    return features, len(stored) / min(seconds)


def weights_digest(network: Pretrained) -> str:
    """Of everything that decides a network's features."""
    digest = hashlib.blake2b(network.spec.encode(), digest_size=16)
    for name, tensor in sorted(network.body.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Computed:
    """Features of some rows of a pack.

    Attributes:
        features: table of all features (D,).
        activations: table of what crosses the boundary, or None.
        numbers: (N,) where in the tables each row of the pack is.
        rate: pictures a second, 0 where everything was known.
    """

    features: Rows
    activations: Rows | None
    numbers: NDArray[np.int64]
    rate: float

    def of(self, rows: NDArray[np.int64]) -> Tensor:
        """(n, D) float32."""
        return torch.from_numpy(self.features.gather(self.numbers[rows])).float()


def compute(
    trunk: Trunk,
    packed: Pack | Stream,
    rows: NDArray[np.int64],
    *,
    view: View | None = None,
    boundary: Boundary | None = None,
    cache: Path | None = None,
    progress: Progress = QUIET,
) -> Computed:
    """Features of `rows`, from the cache as far as they are there.

    Args:
        boundary: also keep what crosses it.
        cache: the cache folder, if not the usual one.
    """
    view = view or View()
    count, numbers = (
        (packed.count, packed.numbers) if isinstance(packed, Pack) else (len(packed), np.arange(len(packed)))
    )
    width = _width(trunk, packed, rows)

    def table(shape: Sequence[int], place: str) -> Rows:
        about = f"{trunk.pipeline.network.spec}, {trunk.pipeline.size} px, {place}, of {packed.index.root}"
        return open_rows(_key(trunk, packed, view, place), count, shape, about=about, cache=cache)

    features = table((width,), "features")
    activations = None if boundary is None else table(boundary.stored, boundary.name)
    missing = ~features.known[numbers[rows]]
    if activations is not None:
        missing |= ~activations.known[numbers[rows]]
    # Whole chunks, so that a picture has the same neighbours, and the same draws, however often a run was stopped.
    chunks = [rows[i : i + trunk.batch] for i in range(0, len(rows), trunk.batch)]
    wanted = [i for i in range(len(chunks)) if missing[i * trunk.batch : (i + 1) * trunk.batch].any()]
    start = time.monotonic()
    _fill(trunk, packed, chunks, wanted, view, boundary, features, activations, numbers, progress)
    done = sum(len(chunks[i]) for i in wanted)
    return Computed(features, activations, numbers, done / max(time.monotonic() - start, 1e-9) if done else 0.0)


def _fill(
    trunk: Trunk,
    packed: Pack | Stream,
    chunks: list[NDArray[np.int64]],
    wanted: list[int],
    view: View,
    boundary: Boundary | None,
    features: Rows,
    activations: Rows | None,
    numbers: NDArray[np.int64],
    progress: Progress,
) -> None:
    if not wanted:
        return
    augment = compose(view.specs)
    device = trunk.runtime.device
    rows = np.concatenate([chunks[i] for i in wanted])
    kept = time.monotonic()
    # All chunks but the last are full, so batches of that size are the chunks.
    stream = batches(packed, rows, batch_size=trunk.batch, device=device)
    label = f"features, {trunk.pipeline.size} px" + (f", view {view.number}" if view.number else "")
    for place, batch in zip(wanted, progress.track(stream, len(wanted), label), strict=True):
        pictures = batch.pictures
        if view.specs:
            generator = torch.Generator(device).manual_seed(derive_seed(view.seed, "view", view.number, place))
            draw = Draw(generator, view.number, torch.from_numpy(batch.rows).to(device))
            pictures, _ = augment(pictures, torch.zeros(len(pictures), 1, device=device), draw)
        found, crossing = trunk(pictures, boundary)
        features.put(numbers[batch.rows], _half(found))
        if activations is not None and crossing is not None:
            activations.put(numbers[batch.rows], _half(crossing))
        if time.monotonic() - kept > 20:
            features.keep()
            if activations is not None:
                activations.keep()
            kept = time.monotonic()
    features.keep()
    if activations is not None:
        activations.keep()


def _half(values: Tensor) -> NDArray[np.float16]:
    """float16, maps channels-last; what is beyond its range becomes its largest number."""
    largest = torch.finfo(torch.float16).max
    values = values.permute(0, 2, 3, 1) if values.ndim == 4 else values
    return values.float().clamp(-largest, largest).half().cpu().numpy()


def _width(trunk: Trunk, packed: Pack | Stream, rows: NDArray[np.int64]) -> int:
    head = trunk.pipeline.network.head
    if isinstance(head, torch.nn.Linear):
        return head.in_features
    stored = torch.from_numpy(packed.gather(rows[:1])).permute(0, 3, 1, 2).to(trunk.runtime.device)
    return int(trunk(stored, None)[0].shape[1])


def _key(trunk: Trunk, packed: Pack | Stream, view: View, place: str) -> str:
    pictures = packed.key if isinstance(packed, Pack) else packed.index.fingerprint()
    made = (LAYOUT, pictures, trunk.digest, trunk.pipeline.size, trunk.runtime.precision, trunk.batch, place)
    look = (view.number, view.specs, view.seed) if view.specs else ()
    mean_std = (tuple(trunk.pipeline.preprocess.mean), tuple(trunk.pipeline.preprocess.std))
    return hashlib.blake2b(repr((made, look, mean_std)).encode(), digest_size=20).hexdigest()
