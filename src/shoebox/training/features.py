"""What a frozen trunk makes of every picture: computed once, kept on disk, found again.

In: a pretrained network that stays as it is, and a pack. Out: float16 features of every picture (N, D), or the
activations at a boundary within the trunk, where the pass then ends. Kept under a key of the pack, the weights, the
picture size, the view and the arithmetic, so that a second run computes nothing.

A view is the picture as it is (0) or as the recipe's augmentations make it, drawn from (seed, view, place) alone.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
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
from shoebox.data.rows import Rows, known_rows, open_rows
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

KEEP_SECONDS = 20.0
"""How often what has been computed is made known to later processes."""


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


@dataclass(frozen=True)
class Trunk:
    """A frozen network ready to compute features fast: batch norms folded, channels-last, in the arithmetic chosen.

    Attributes:
        pipeline: with the folded copy.
        runtime: device and arithmetic of the features.
        digest: of weights and architecture, the head left out.
        rate: pictures a second, where it was measured.
    """

    pipeline: Pipeline
    runtime: Runtime
    digest: str
    rate: float = 0.0

    @property
    def batch(self) -> int:
        """Pictures at a time."""
        return self.pipeline.at_once()

    def at(self, side: int) -> Trunk:
        """The same for pictures of another side, px."""
        same = replace(self.pipeline.preprocess, size=side)
        return replace(self, pipeline=Pipeline(self.pipeline.network, same).place(self.runtime.device).eval())

    def __call__(self, inputs: Tensor) -> Tensor:
        """Features (n, D) of normalised inputs (n, 3, S, S)."""
        with torch.no_grad(), self.runtime.autocast():
            return self.pipeline.network.features(inputs)

    def below(self, inputs: Tensor, boundary: Boundary) -> Tensor:
        """What crosses the boundary, of normalised inputs (n, 3, S, S); nothing above it is computed."""

        def stop(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            raise _Reached(output)

        network = self.pipeline.network
        handle = network.get_submodule(boundary.name).register_forward_hook(stop)
        try:
            with torch.no_grad(), self.runtime.autocast():
                features = network.features(inputs)
        except _Reached as reached:
            return reached.output
        finally:
            handle.remove()
        return features


class _Reached(Exception):
    """Ends a forward pass at the module whose output is all that was wanted."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


def make_trunk(pipeline: Pipeline, runtime: Runtime, sample: Tensor) -> Trunk:
    """A folded copy of a pipeline's network that computes in the runtime's arithmetic.

    Args:
        sample: a few inputs of the network (n, 3, S, S).
    """
    network = pipeline.network
    assert isinstance(network, Pretrained)
    fast = Pipeline(fold(network, sample), pipeline.preprocess).place(runtime.device).eval()
    return Trunk(fast, runtime, weights_digest(network))


def faster_trunk(trunk: Trunk, runtime: Runtime, stored: Tensor) -> Trunk:
    """The trunk in the faster arithmetic of its own, float32, and the runtime's; its rate measured on some pictures.

    bf16 serves where it is faster and its features are those of float32 within `ROUNDING`; the head fitted on them
    will be used with float32 ones.

    Args:
        stored: pictures (n, 3, S, S) uint8.
    """
    stored = stored.to(runtime.device)
    exact, rate = _timed(trunk, stored)
    trunk = replace(trunk, rate=rate)
    if runtime.precision == trunk.runtime.precision:
        return trunk
    rounded, rate = _timed(replace(trunk, runtime=runtime), stored)
    half = replace(trunk, runtime=runtime, rate=rate)
    difference = float((rounded - exact).abs().mean() / exact.abs().mean().clamp_min(1e-12))
    return half if half.rate > GAIN * trunk.rate and difference <= ROUNDING else trunk


def _timed(trunk: Trunk, stored: Tensor) -> tuple[Tensor, float]:
    """The features, and pictures a second of the fastest of two to four rounds."""
    seconds: list[float] = []
    while len(seconds) < 2 or (sum(seconds) < TIMING and len(seconds) < 4):
        start = time.perf_counter()
        features = trunk(trunk.pipeline.inputs(stored)).float().cpu()
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
    """Features of some rows of a pack, or what crosses a boundary.

    Attributes:
        table: of all that is known.
        numbers: (N,) where in the table each row of the pack is.
        rate: pictures a second, 0 where everything was known.
    """

    table: Rows
    numbers: NDArray[np.int64]
    rate: float

    def of(self, rows: NDArray[np.int64]) -> Tensor:
        """(n, D) float32."""
        return torch.from_numpy(self.table.gather(self.numbers[rows])).float()


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
    """Features of `rows`, or with a boundary what crosses it, from the cache as far as they are there.

    Args:
        boundary: where to stop; by default the features themselves are kept.
        cache: the cache folder, if not the usual one.
    """
    view = view or View()
    count, numbers = _places(packed)
    place, shape = (
        ("features", (_width(trunk, packed, rows),)) if boundary is None else (boundary.name, boundary.stored)
    )
    about = f"{trunk.pipeline.network.spec}, {trunk.pipeline.size} px, {place}, of {packed.index.root}"
    table = open_rows(_key(trunk, packed, view, place), count, shape, about=about, cache=cache)
    missing = ~table.known[numbers[rows]]
    # Whole chunks, so that a picture has the same neighbours, and the same draws, however often a run was stopped.
    chunks = [rows[i : i + trunk.batch] for i in range(0, len(rows), trunk.batch)]
    wanted = [i for i in range(len(chunks)) if missing[i * trunk.batch : (i + 1) * trunk.batch].any()]
    start = time.monotonic()
    _fill(trunk, packed, chunks, wanted, view, boundary, table, numbers, progress)
    done = sum(len(chunks[i]) for i in wanted)
    return Computed(table, numbers, done / max(time.monotonic() - start, 1e-9) if done else 0.0)


def all_known(trunk: Trunk, packed: Pack | Stream, rows: NDArray[np.int64], cache: Path | None) -> bool:
    """Whether the cache says that the features of all these rows are there."""
    count, numbers = _places(packed)
    known = known_rows(_key(trunk, packed, View(), "features"), count, cache=cache)
    return bool(known[numbers[rows]].all())


def _places(packed: Pack | Stream) -> tuple[int, NDArray[np.int64]]:
    """(How many rows a table has, where in it each row of the pack is)."""
    return (packed.count, packed.numbers) if isinstance(packed, Pack) else (len(packed), np.arange(len(packed)))


def _fill(
    trunk: Trunk,
    packed: Pack | Stream,
    chunks: list[NDArray[np.int64]],
    wanted: list[int],
    view: View,
    boundary: Boundary | None,
    table: Rows,
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
    what = "features" if boundary is None else "activations"
    label = f"{what}, {trunk.pipeline.size} px" + (f", view {view.number}" if view.number else "")
    for place, batch in zip(wanted, progress.track(stream, len(wanted), label), strict=True):
        pictures = batch.pictures
        if view.specs:
            generator = torch.Generator(device).manual_seed(derive_seed(view.seed, "view", view.number, place))
            draw = Draw(generator, view.number, torch.from_numpy(batch.rows).to(device))
            pictures, _ = augment(pictures, torch.zeros(len(pictures), 1, device=device), draw)
        inputs = trunk.pipeline.inputs(pictures)
        table.put(numbers[batch.rows], _half(trunk(inputs) if boundary is None else trunk.below(inputs, boundary)))
        if time.monotonic() - kept > KEEP_SECONDS:
            table.keep()
            kept = time.monotonic()
    table.keep()


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
    return int(trunk(trunk.pipeline.inputs(stored)).shape[1])


def _key(trunk: Trunk, packed: Pack | Stream, view: View, place: str) -> str:
    pictures = packed.key if isinstance(packed, Pack) else packed.index.fingerprint()
    made = (LAYOUT, pictures, trunk.digest, trunk.pipeline.size, trunk.runtime.precision, trunk.batch, place)
    look = (view.number, view.specs, view.seed) if view.specs else ()
    mean_std = (tuple(trunk.pipeline.preprocess.mean), tuple(trunk.pipeline.preprocess.std))
    return hashlib.blake2b(repr((made, look, mean_std)).encode(), digest_size=20).hexdigest()
