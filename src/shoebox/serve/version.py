"""A version of the classifier as it is served: what answers, what doubts, and the mark by which clients tell versions.

In: a run's folder or an exported one. Out: a `Version`, ready to answer. When the folder changes, its `state` does.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoebox.data.preprocess import Preprocess
from shoebox.deploy.backends import Backend, read_config
from shoebox.deploy.certificate import identify
from shoebox.deploy.doubt import Doubt, read_doubt
from shoebox.deploy.fastest import open_backend

MARK_DIGITS = 12
DECIDING = ("config.json", "model.safetensors", "certificate.json", "backends.json", "val.npz")

State = tuple[tuple[int, int, int] | None, ...]
"""What tells whether files have changed: number, time and size of each that decides."""


@dataclass(frozen=True, eq=False)
class Version:
    """A classifier, open.

    Attributes:
        mark: hex digits; equal for what answers equally.
        name: what people call it.
        config: as in `config.json`.
        doubt: None where nothing is known of a validation part.
        turns: held while the backend computes.
    """

    mark: str
    name: str
    config: dict[str, Any]
    backend: Backend
    doubt: Doubt | None
    turns: threading.Semaphore = field(repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of the probabilities."""
        return self.backend.classes

    @property
    def preprocess(self) -> Preprocess:
        """How a picture is stored before it is answered."""
        return self.backend.preprocess

    def scores(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What the classifier says of stored pictures, (N, S, S, 3) uint8; waits for its turn."""
        with self.turns:
            return self.backend.scores(pictures)


def open_version(folder: Path, *, device: str = "auto", error: float = 0.05, unknown: float = 0.01) -> Version:
    """Open what a folder holds, and let it answer once.

    Raises:
        UsageError: it holds no classifier, or a setting is out of its range.
        ShoeboxError: it is damaged.
    """
    config = read_config(folder)
    backend = open_backend(folder, device)
    name = str(config.get("card", {}).get("name") or config.get("architecture"))
    doubt = read_doubt(folder, error, unknown)
    made = Version(identify(folder)[:MARK_DIGITS], name, config, backend, doubt, threading.Semaphore(backend.workers))
    side = backend.preprocess.store
    probabilities, features = made.scores(np.zeros((1, side, side, 3), np.uint8))
    if doubt is not None:
        doubt.judge(probabilities, features)
    return made


def state_of(folder: Path) -> State:
    """The state of the files that decide how a folder answers."""
    found: list[tuple[int, int, int] | None] = []
    for name in DECIDING:
        try:
            status = (folder / name).stat()
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        except OSError:
            found.append(None)
    return tuple(found)
