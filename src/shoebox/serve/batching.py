"""Micro-batches: pictures of all requests in one bounded queue, answered as many at a time as are waiting.

In: the bytes of pictures, from the event loop. Out: futures. A few threads each take what has gathered, have it decoded
in a process of their own, compute, and take again. So nobody waits for a batch to fill: batches are of one picture when
the server is idle, and grow with the load. While one thread computes, the others' processes decode.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from shoebox.data.picture import Unreadable
from shoebox.data.stream import processors
from shoebox.deploy.doubt import Judged
from shoebox.serve.decoder import Decoder
from shoebox.serve.problems import Busy
from shoebox.serve.settings import Settings
from shoebox.serve.version import Version

CHUNK_BYTES = 64 << 20
"""The most that a batch takes of memory, of files or of pixels."""
TICK_SECONDS = 0.2


@dataclass(frozen=True, eq=False)
class Answer:
    """What the classifier says of one picture.

    Attributes:
        probabilities: (K,) float32.
        features: (D,) float32, what the network's head saw.
        pixels: (S, S, 3) uint8, the picture as it was stored for the network.
        judged: of this one picture; None where nothing is known of a validation part.
    """

    probabilities: NDArray[np.float32]
    features: NDArray[np.float32]
    pixels: NDArray[np.uint8]
    judged: Judged | None


Outcome = Answer | Unreadable
Future = asyncio.Future[Outcome]


@dataclass(frozen=True, eq=False)
class _Waiting:
    data: bytes
    version: Version
    future: Future
    until: float


class Batcher:
    """The queue and its threads.

    Args:
        settings: limits.
        loop: where the futures live.
        on_batch: told of every batch: how many pictures, and how many decoding processes it cost.
    """

    def __init__(
        self, settings: Settings, loop: asyncio.AbstractEventLoop, on_batch: Callable[[int, int], object]
    ) -> None:
        self._settings = settings
        self._loop = loop
        self._on_batch = on_batch
        self._queue: deque[_Waiting] = deque()
        self._ready = threading.Condition()
        self._stopping = False
        self._decoders: set[Decoder] = set()
        self._threads: list[threading.Thread] = []

    def start(self, version: Version) -> None:
        """Start the threads, and the first decoding processes, for a version to come."""
        # Each thread computes by itself: a BLAS with threads of its own would have them wait for each other.
        threadpool_limits(1, user_api="blas")
        count = max(version.backend.workers, processors())
        decoders = [self._decoder(version) for _ in range(count)]
        self._threads = [threading.Thread(target=self._work, args=(d,), name="batch", daemon=True) for d in decoders]
        self._threads.append(threading.Thread(target=self._watch, name="decode-deadlines", daemon=True))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads and processes; what still waits is refused."""
        with self._ready:
            self._stopping = True
            left = [*self._queue]
            self._queue.clear()
            self._ready.notify_all()
        self._deliver([(one.future, Busy("the server is stopping")) for one in left])
        for thread in self._threads:
            thread.join()

    def __len__(self) -> int:
        return len(self._queue)

    def submit(self, pictures: Sequence[bytes], version: Version, seconds: float) -> list[Future]:
        """Queue pictures; called on the event loop.

        Raises:
            Busy: they do not fit into the queue.
        """
        until = time.monotonic() + seconds
        made = [_Waiting(data, version, self._loop.create_future(), until) for data in pictures]
        with self._ready:
            if self._stopping or len(self._queue) + len(made) > self._settings.waiting:
                raise Busy
            self._queue.extend(made)
            self._ready.notify(len(made))
        return [one.future for one in made]

    def _decoder(self, version: Version) -> Decoder:
        s = self._settings
        made = Decoder(version.preprocess, seconds=s.decode_seconds, memory=s.decode_memory)
        made.start()
        self._decoders.add(made)
        return made

    def _take(self) -> list[_Waiting]:
        """What to do next: a fair share of what waits, all for one version; nothing once the server stops."""
        with self._ready:
            while not self._queue and not self._stopping:
                self._ready.wait()
            if self._stopping:
                return []
            first = self._queue[0].version
            side = first.preprocess.store
            most = min(first.backend.batch, max(1, CHUNK_BYTES // (3 * side * side)))
            most = min(most, -(-len(self._queue) // len(self._threads)))
            taken = [self._queue.popleft()]
            size = len(taken[0].data)
            while len(taken) < most and self._queue and self._queue[0].version is first:
                size += len(self._queue[0].data)
                if size > CHUNK_BYTES:
                    break
                taken.append(self._queue.popleft())
            return taken

    def _work(self, decoder: Decoder) -> None:
        while taken := self._take():
            now = time.monotonic()
            wanted = [one for one in taken if not one.future.cancelled()]
            late = [one for one in wanted if one.until < now]
            batch = [one for one in wanted if one.until >= now]
            found: list[tuple[Future, Outcome | Exception]] = [(one.future, Busy()) for one in late]
            if batch:
                version = batch[0].version
                try:
                    if decoder.preprocess != version.preprocess:
                        decoder = self._replaced(decoder, version)
                    outcomes: Sequence[Outcome | Exception] = self._answers(batch, decoder)
                except Exception as e:  # noqa: BLE001 (whatever it is, it is these requests' and no thread ends by it)
                    outcomes = [e] * len(batch)
                found += [(one.future, outcome) for one, outcome in zip(batch, outcomes, strict=True)]
            self._loop.call_soon_threadsafe(self._deliver, found)
        decoder.stop()

    def _replaced(self, decoder: Decoder, version: Version) -> Decoder:
        self._decoders.discard(decoder)
        decoder.stop()
        return self._decoder(version)

    def _answers(self, batch: Sequence[_Waiting], decoder: Decoder) -> list[Outcome]:
        version, before = batch[0].version, decoder.lost
        decoded = decoder.decode([one.data for one in batch])
        pixels = [one for one in decoded if not isinstance(one, Unreadable)]
        self._on_batch(len(batch), decoder.lost - before)
        if not pixels:
            return [one for one in decoded if isinstance(one, Unreadable)]
        probabilities, features = version.scores(np.stack(pixels))
        # Judged a batch at a time: the neighbours among all validation pictures are looked for in one product.
        judged: Sequence[Judged | None] = [None] * len(pixels)
        if version.doubt is not None:
            judged = version.doubt.judge(probabilities, features).each()
        scored = zip(probabilities, features, pixels, judged, strict=True)
        return [one if isinstance(one, Unreadable) else Answer(*next(scored)) for one in decoded]

    def _deliver(self, found: Sequence[tuple[Future, Outcome | Exception]]) -> None:
        for future, outcome in found:
            if future.done():
                continue
            if isinstance(outcome, Exception) and not isinstance(outcome, Unreadable):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _watch(self) -> None:
        while not self._stopping:
            time.sleep(TICK_SECONDS)
            for decoder in tuple(self._decoders):
                decoder.end_if_overdue()
