"""Decoding files into a pack, some at a time; and, as a program, a process that does it on request.

A process of its own decodes at full speed beside others (threads take turns at Python's lock between decoders), and a
decoder that crashes or hangs takes only that process with it. `shoebox.data.decoders` starts it as

    python -c 'import sys; sys.path[:] = sys.argv[2:]; from shoebox.data.worker import main; main()' SETUP PATH…

In: SETUP, JSON of {"preprocess", "target"}; then on stdin one line of JSON per chunk: {"first", "files"}.
Out, on stdout: "ready" once; then per chunk one line of JSON: {"checksums", "unreadable"}, or {"errno", "error"} where
the target could not be written; between them an empty line about every second, as a sign of life.
"""

import contextlib
import io
import json
import os
import signal
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoebox.data.picture import Unreadable, load
from shoebox.data.prefetch import prefetch
from shoebox.data.preprocess import Preprocess

AT_ONCE = 1 << 19
"""Bytes of pictures that are written at a time, while they are in a processor's cache: with three megabytes, packing
imagenette128 took a quarter longer."""


@dataclass(frozen=True)
class Chunk:
    """What became of some files.

    Attributes:
        checksums: CRC-32 of each picture's bytes; 0 for an unreadable one.
        unreadable: position in the chunk → reason.
    """

    checksums: list[int]
    unreadable: dict[int, str]


def decode_chunk(
    first: int,
    files: Sequence[str],
    preprocess: Preprocess,
    target: Path | None,
    after_each: Callable[[], None] = lambda: None,
) -> Chunk:
    """Decode some files and write their pictures one after another into `target`, from that of number `first` on.

    Unreadable ones are written as zeros. Without a target the pictures are only checked.

    Raises:
        OSError: the target cannot be written.
    """
    prefetch(files)
    side = preprocess.store
    few = max(1, min(len(files), AT_ONCE // (3 * side**2)))
    pictures = np.empty((few, side, side, 3), np.uint8)
    checksums, unreadable = [0] * len(files), {}
    with contextlib.nullcontext() if target is None else target.open("r+b", buffering=0) as stream:
        for start in range(0, len(files), few):
            for i, file in enumerate(files[start : start + few]):
                try:
                    pictures[i] = load(file, preprocess)
                    checksums[start + i] = zlib.crc32(pictures[i])
                except Unreadable as e:
                    pictures[i], unreadable[start + i] = 0, e.reason
                after_each()
            if stream is not None:
                _write(stream, first + start, pictures[: len(files) - start])
    return Chunk(checksums, unreadable)


def _write(stream: io.FileIO, first: int, pictures: NDArray[np.uint8]) -> None:
    """Put pictures where that of number `first` belongs. A file that is mapped would end the process on a full disk."""
    stream.seek(first * pictures[0].nbytes)
    rest = pictures.data.cast("B")
    while rest:
        rest = rest[stream.write(rest) :]


def main(work: Callable[..., Chunk] = decode_chunk) -> None:
    """Answer requests until stdin ends, which is also what happens when the asking process dies.

    Args:
        work: what to do with a chunk; takes what `decode_chunk` takes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the asking process decides
    # stdout is kept for answers: what a decoder prints goes to stderr
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    setup = json.loads(sys.argv[1])
    preprocess = Preprocess.from_dict(setup["preprocess"])
    target = None if setup["target"] is None else Path(setup["target"])
    last = time.monotonic()

    def say(line: str) -> None:
        nonlocal last
        last = time.monotonic()
        print(line, file=answers, flush=True)

    def sign_of_life() -> None:
        if time.monotonic() - last > 1:
            say("")

    say("ready")
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any]
        try:
            answer = asdict(work(request["first"], request["files"], preprocess, target, sign_of_life))
        except OSError as e:
            answer = {"errno": e.errno, "error": e.strerror or str(e)}
        say(json.dumps(answer))
