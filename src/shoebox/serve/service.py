"""The service: a classifier that answers from the event loop, and is replaced by its next version while it does.

In: a run's folder or an exported one. Out: answers. Requests that have begun with a version end with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.deploy.backends import is_exported
from shoebox.serve.batching import Batcher, Outcome
from shoebox.serve.problems import Busy
from shoebox.serve.settings import Settings
from shoebox.serve.telemetry import Telemetry
from shoebox.serve.version import Version, open_version, state_of

if TYPE_CHECKING:
    from shoebox.classifier import Classifier

MOST_HEATS = 32
"""Heat maps that may wait: each takes a pass forwards and one back."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What became of the pictures of one request, in order, all by one version."""

    version: Version
    found: list[Outcome]


class Service:
    """A served classifier. `start` and `stop` it on the event loop.

    Args:
        folder: of a run, or one that `shoebox export` made.
        settings: limits and thresholds.
        telemetry: what is told of batches and versions.

    Attributes:
        current: the version that answers new requests.

    Raises:
        UsageError: there is no classifier in the folder.
        ShoeboxError: it is damaged.
    """

    def __init__(self, folder: Path, settings: Settings, telemetry: Telemetry | None = None) -> None:
        self.folder = folder
        self.settings = settings
        self.telemetry = telemetry or Telemetry()
        self.is_run = not is_exported(folder)
        self._state = state_of(folder)
        self.current = self._open()
        self._batcher: Batcher | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._heater = ThreadPoolExecutor(1, thread_name_prefix="heat")
        self._heats = 0
        self._classifier: tuple[Version, Classifier] | None = None

    @property
    def ready(self) -> bool:
        """Whether requests are being answered."""
        return self._batcher is not None

    @property
    def waiting(self) -> int:
        """How many pictures wait for their turn."""
        return 0 if self._batcher is None else len(self._batcher)

    async def start(self) -> None:
        """Begin to answer.

        Raises:
            ShoeboxError: no decoding process can be started.
        """
        batcher = Batcher(self.settings, asyncio.get_running_loop(), self.telemetry.batch)
        await asyncio.to_thread(batcher.start, self.current)
        self._batcher = batcher
        self.telemetry.version(self.current)
        self.telemetry.queue(lambda: self.waiting)
        if self.settings.watch_seconds:
            self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop answering; no request should be under way."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        batcher, self._batcher = self._batcher, None
        if batcher is not None:
            await asyncio.to_thread(batcher.stop)
        self._heater.shutdown(cancel_futures=True)

    async def answer(self, pictures: Sequence[bytes], *, seconds: float | None = None) -> Answers:
        """Say what is in pictures. When the caller is cancelled, so is the work that has not begun.

        Args:
            pictures: the bytes of each file.
            seconds: after which it is of no use any more; by default the settings'.

        Raises:
            Busy: the queue is full, or the time is up.
        """
        if self._batcher is None:
            raise Busy("the server is stopping")
        version, limit = self.current, seconds or self.settings.seconds
        futures = self._batcher.submit(pictures, version, limit)
        try:
            _, late = await asyncio.wait(futures, timeout=limit)
        finally:
            for future in futures:
                future.cancel()
        if late:
            raise Busy
        return Answers(version, [future.result() for future in futures])

    async def heat(self, pixels: NDArray[np.uint8], position: int) -> NDArray[np.float32]:
        """Where in a picture the network sees what speaks for a class: (S, S) float32, 0 to 1.

        Args:
            pixels: (S, S, 3) uint8, those of an `Answer`.
            position: of the class.

        Raises:
            UsageError: this is an exported folder, which has no network that could be asked.
            ShoeboxError: the network has no layer that keeps places.
            Busy: too many wait for theirs.
        """
        if not self.is_run:
            raise UsageError("an exported classifier cannot say where it looked: serve the folder of its run")
        if self._heats >= MOST_HEATS:
            raise Busy
        self._heats += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._heater, self._heat, self.current, pixels, position)
        finally:
            self._heats -= 1

    def _heat(self, version: Version, pixels: NDArray[np.uint8], position: int) -> NDArray[np.float32]:
        import torch

        from shoebox.classifier import Classifier
        from shoebox.evaluation.explain import heat_maps

        if self._classifier is None or self._classifier[0] is not version:
            self._classifier = version, Classifier.load(self.folder, "cpu")
        picture = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
        return heat_maps(self._classifier[1].pipeline, picture, np.array([position]))[0]

    def _open(self) -> Version:
        s = self.settings
        return open_version(self.folder, device=s.device, error=s.error, unknown=s.unknown)

    async def _watch(self) -> None:
        """Look for a new version, and open it once its files have stood still from one look to the next."""
        seen = self._state
        while True:
            await asyncio.sleep(self.settings.watch_seconds)
            now = state_of(self.folder)
            settled, seen = now == seen, now
            if now != self._state and settled:
                await self._reload()
                self._state = now

    async def _reload(self) -> None:
        try:
            self.current = await asyncio.to_thread(self._open)
        except (ShoeboxError, OSError, MemoryError) as e:
            self.telemetry.reload_failed(e)
        else:
            self.is_run = not is_exported(self.folder)
            self.telemetry.version(self.current)
