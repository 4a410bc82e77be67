"""What a picture is like: the training pictures whose features are nearest to its own.

In: a service and the pictures of its run. Out: rows of those pictures. Their features are computed in the background,
by the service itself and behind the requests of others, from the first time somebody asks.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import ShoeboxError
from shoebox.data.picture import MAX_BYTES, Unreadable
from shoebox.evaluation.embedding import by_share, nearest
from shoebox.page.pictures import Owned, run_pictures
from shoebox.serve.problems import Busy
from shoebox.serve.service import Service

MOST = 2000
"""Training pictures that are compared with, every class by its share."""
CHUNK = 16
SHOWN = 4
ENOUGH, WAIT = 200, 3.0
"""Who asks early waits until so many have been looked at, or for so many seconds."""
PAUSE = 0.02
"""Seconds between two chunks, and fifty times as many after the service was busy: visitors come first."""


@dataclass
class Bank:
    """Features of the training pictures of one version of the classifier.

    Attributes:
        mark: of the version.
        pictures: of the run.
        rows: of the training pictures that are compared with.
        done: how many of them have been looked at.
        known, features: rows of those that could be read, and their features.
        begun: set once enough of them are there to compare with, or all.
    """

    mark: str
    pictures: tuple[Owned, ...]
    rows: list[int]
    done: int = 0
    known: list[int] = field(default_factory=list)
    features: list[NDArray[np.float32]] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def complete(self) -> bool:
        """Whether all have been looked at."""
        return self.done == len(self.rows)


class Likeness:
    """The training pictures of a service's run, to compare with."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._bank: Bank | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> Bank:
        """The bank of the current version, which fills up in the background."""
        mark = self._service.current.mark
        if self._bank is None or self._bank.mark != mark:
            self._cancel()
            pictures = run_pictures(self._service.folder) if self._service.is_run else ()
            self._bank = Bank(mark, pictures, training_rows(pictures))
            self._task = asyncio.get_running_loop().create_task(self._fill(self._bank))
        return self._bank

    async def nearest(self, features: NDArray[np.float32]) -> tuple[list[dict[str, object]], str]:
        """The training pictures most like one with these features (D,): row, label, likeness -1…1; and a note where
        there are none, or not yet all."""
        bank = self.start()
        if not bank.rows:
            return [], ""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(bank.begun.wait(), WAIT)
        if not bank.features:
            return [], "" if bank.complete else "The training pictures are being looked at: ask again in a moment."
        places, likeness = nearest(features[None], np.stack(bank.features), SHOWN)
        found = [
            {"row": row, "label": bank.pictures[row].label, "likeness": round(float(alike), 4)}
            for row, alike in zip((bank.known[place] for place in places[0]), likeness[0], strict=True)
        ]
        note = "" if bank.complete else f"Among the first {bank.done:,} of {len(bank.rows):,} training pictures."
        return found, note

    async def close(self) -> None:
        """Stop computing."""
        task = self._task
        self._cancel()
        if task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _fill(self, bank: Bank) -> None:
        while not bank.complete:
            rows = bank.rows[bank.done : bank.done + CHUNK]
            files = [bank.pictures[row].file for row in rows]
            read = await asyncio.to_thread(_bytes_of, files)
            there = [(row, data) for row, data in zip(rows, read, strict=True) if data]
            try:
                found = (await self._service.answer([data for _, data in there])).found if there else []
            except Busy:
                await asyncio.sleep(50 * PAUSE)
                continue
            except ShoeboxError:  # this version cannot answer; the visitor who asks it is told so
                return
            for (row, _), answer in zip(there, found, strict=True):
                if not isinstance(answer, Unreadable):
                    bank.known.append(row)
                    bank.features.append(answer.features)
            bank.done += len(rows)
            if bank.done >= ENOUGH or bank.complete:
                bank.begun.set()
            await asyncio.sleep(PAUSE)


def training_rows(pictures: tuple[Owned, ...]) -> list[int]:
    """Up to `MOST` rows of the training part, every class by its share."""
    rows = [row for row, picture in enumerate(pictures) if picture.part == "train" and picture.label]
    if not rows:
        return []
    groups = np.unique([pictures[row].label for row in rows], return_inverse=True)[1].astype(np.int64)
    return [rows[place] for place in by_share(groups, MOST).tolist()]


def _bytes_of(files: list[Path]) -> list[bytes]:
    """The bytes of regular files; none of one that is gone or is something else."""
    found = []
    for file in files:
        try:
            found.append(file.read_bytes() if file.is_file() and file.stat().st_size <= MAX_BYTES else b"")
        except OSError:
            found.append(b"")
    return found
