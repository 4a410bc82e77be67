"""Uploaded pictures decoded in a process of their own, replaced whenever it is lost.

In: the bytes of files. Out: pixels, or why there are none. A file that crashes or hangs its decoder costs only itself:
those before it have been answered, those after it are asked of a new process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import ShoeboxError
from shoebox.data.decoders import PROGRAM
from shoebox.data.picture import Unreadable
from shoebox.data.preprocess import Preprocess
from shoebox.serve.decoding import ANSWER, NUMBER, OK

CRASHED = "its decoder crashed"
START_SECONDS = 60.0
PIPE_BYTES = 1 << 20  # what any process may ask for, and room for a batch of small pictures
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "SYSTEMROOT", "LD_LIBRARY_PATH")
"""All of the environment that the process is given: nothing of it is secret."""

Decoded = NDArray[np.uint8] | Unreadable


class _Lost(Exception):
    """The process ended, or was ended, within an answer."""


class Decoder:
    """A decoding process. Used by one thread; `end_if_overdue` is called from another.

    Args:
        preprocess: what to make of each file.
        seconds: for one file.
        memory: bytes of address space.

    Attributes:
        lost: how many processes have been lost.
    """

    def __init__(self, preprocess: Preprocess, *, seconds: float, memory: int) -> None:
        self.preprocess = preprocess
        self.lost = 0
        self._seconds = seconds
        self._setup = json.dumps({"preprocess": preprocess.to_dict(), "memory": memory})
        self._process: subprocess.Popen[bytes] | None = None
        self._until = float("inf")
        self._late = False

    def decode(self, files: Sequence[bytes]) -> list[Decoded]:
        """Decode files, one after another.

        Raises:
            ShoeboxError: no process can be started.
        """
        done: list[Decoded] = []
        while len(done) < len(files):
            fresh = self._process is None
            try:
                self._ask(files[len(done) :], done)
            except _Lost:
                # One that left after its last answer, to free its memory, has not met the next file.
                if fresh or self._late or len(done) == len(files) or self._crashed():
                    self.lost += 1
                    if len(done) < len(files):
                        done.append(Unreadable("", self._reason()))
                self.stop()
        return done

    def start(self) -> None:
        """Start the process, if there is none, and wait until it is ready.

        Raises:
            ShoeboxError: it does not start.
        """
        if self._process is not None:
            return
        # No fork, which threads do not survive. OpenBLAS, which nothing there uses, would start a thread a processor.
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM.format("shoebox.serve.decoding"), self._setup, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**environment, "OPENBLAS_NUM_THREADS": "1"},
                pipesize=PIPE_BYTES,
            )
            self._late = False
            self._until = time.monotonic() + START_SECONDS
            self._read(1)
        except (OSError, _Lost) as e:
            self.stop()
            raise ShoeboxError(f"no process to decode pictures can be started ({e or 'it ended'})") from e
        finally:
            self._until = float("inf")

    def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def end_if_overdue(self) -> None:
        """End the process if the file it is at takes too long."""
        process = self._process
        if process is not None and time.monotonic() > self._until:
            self._late = True
            process.kill()

    def _ask(self, files: Sequence[bytes], done: list[Decoded]) -> None:
        self.start()
        assert self._process is not None and self._process.stdin is not None
        self._until = time.monotonic() + self._seconds
        lengths = b"".join(NUMBER.pack(len(data)) for data in files)
        try:
            self._process.stdin.write(b"".join([NUMBER.pack(len(files)), lengths, *files]))
            self._process.stdin.flush()
        except OSError:
            raise _Lost from None
        side = self.preprocess.store
        for _ in files:
            self._until = time.monotonic() + self._seconds
            status, length = ANSWER.unpack(self._read(ANSWER.size))
            content = self._read(length)
            if status == OK:
                done.append(np.frombuffer(content, np.uint8).reshape(side, side, 3))
            else:
                done.append(Unreadable("", content.decode("utf-8", "replace")))
        self._until = float("inf")

    def _read(self, count: int) -> bytes:
        assert self._process is not None and self._process.stdout is not None
        found = self._process.stdout.read(count)
        if len(found) < count:
            raise _Lost
        return found

    def _crashed(self) -> bool:
        return self._process is not None and self._process.wait() != 0

    def _reason(self) -> str:
        return f"its decoder took over {self._seconds:.0f} s" if self._late else CRASHED
