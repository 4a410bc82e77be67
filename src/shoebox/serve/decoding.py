"""The process that opens uploaded pictures: as little as possible is within its reach, and it can be lost at any time.

`shoebox.serve.decoder` starts it as `python -c 'import …; main()' SETUP PATH…`. In: SETUP, JSON of {"preprocess",
"memory"}; then on stdin requests: a count, that many lengths, and the files' bytes. Out, on stdout: one byte when it is
ready; then for each file a status, a length, and its pixels or the reason why it has none. All numbers are unsigned 32
bits, the lowest byte first.
"""

import contextlib
import json
import os
import signal
import struct
import sys
from typing import BinaryIO

import psutil

from shoebox.data.picture import Unreadable, load
from shoebox.data.preprocess import Preprocess

NUMBER = struct.Struct("<I")
ANSWER = struct.Struct("<II")
OK, UNREADABLE = 0, 1
LARGEST = 512 << 20
"""Bytes of memory that a process may hold on to after an answer; a new one is better then."""


def confine(memory: int) -> None:
    """Take from this process what decoding does not need: most of the memory, and the writing of files."""
    with contextlib.suppress(ImportError):
        import resource

        for kind, limit in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(kind, (limit, limit))


def answer(data: bytes, preprocess: Preprocess, out: BinaryIO) -> None:
    """Open one file and write what became of it."""
    try:
        pixels = load(data, preprocess)
    except Unreadable as e:
        reason = e.reason.encode("utf-8", "replace")
        out.write(ANSWER.pack(UNREADABLE, len(reason)) + reason)
    else:
        out.write(ANSWER.pack(OK, pixels.nbytes))
        out.write(pixels.data.cast("B"))
    out.flush()


def main() -> None:
    """Answer requests until stdin ends, which is also what happens when the server dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server decides
    setup = json.loads(sys.argv[1])
    preprocess, itself = Preprocess.from_dict(setup["preprocess"]), psutil.Process()
    confine(setup["memory"])
    source = os.fdopen(os.dup(0), "rb", buffering=1 << 16)
    answers = os.fdopen(os.dup(1), "wb", buffering=1 << 16)
    os.dup2(2, 1)  # stdout is kept for answers: what a decoder prints goes to stderr
    answers.write(b"!")
    answers.flush()
    while head := source.read(NUMBER.size):
        lengths = [NUMBER.unpack(source.read(NUMBER.size))[0] for _ in range(NUMBER.unpack(head)[0])]
        files = [source.read(length) for length in lengths]
        for data in files:
            answer(data, preprocess, answers)
        if itself.memory_info().rss > LARGEST:
            return
