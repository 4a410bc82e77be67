"""Many files decoded at once, by processes or, where there are few, by threads.

In: files and a Preprocess; a file to write the pictures into. Out: their checksums, and which are unreadable.
A decoder that crashes or hangs costs its one file: the chunk is asked for again file by file, in a new process.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Timer

import numpy as np
from numpy.typing import NDArray

from shoebox.base.progress import QUIET, Progress
from shoebox.data.preprocess import Preprocess
from shoebox.data.worker import Chunk, decode_chunk

CHUNK = 64  # files: what one request costs (0.2 ms) is then 3 % of decoding the smallest pictures
CHUNK_BYTES = 32 << 20  # of pictures: fewer files make a chunk of large ones, so that progress is seen
FEW = 64  # files: two processes take 0.3 s to start; a crash in this process is then at least soon found
PATIENCE = 30.0  # seconds for one file; the largest that are decoded at all take about 4

PROGRAM = "import sys; sys.path[:] = sys.argv[2:]; from {} import main; main()"

Ask = Callable[[int, Sequence[str]], Chunk]


@dataclass(frozen=True)
class Work:
    """What is done with every chunk of files.

    Attributes:
        module: the name of the one whose `main` answers requests for it.
        chunk: does it in this process; takes and gives what `shoebox.data.worker.decode_chunk` does.
    """

    module: str
    chunk: Callable[..., Chunk]


PACKING = Work("shoebox.data.worker", decode_chunk)


@dataclass(frozen=True, eq=False)
class Decoded:
    """What became of N files.

    Attributes:
        checksums: (N,) uint32, CRC-32 of each picture's bytes.
        unreadable: number of the file → reason, on one line.
    """

    checksums: NDArray[np.uint32]
    unreadable: dict[int, str]


def decode_all(
    files: Sequence[str],
    preprocess: Preprocess,
    target: Path | None,
    *,
    threads: int,
    few: int = FEW,
    work: Work = PACKING,
    progress: Progress = QUIET,
) -> Decoded:
    """Decode files in chunks, `threads` at a time.

    Args:
        files: N paths.
        preprocess: what to make of each.
        target: an existing file; the n-th picture is written as its n-th S·S·3 bytes. None only checks the files.
        threads: processes (or threads) to use.
        few: below this many files, threads of this process are used, which start at once.
        work: what is done with each chunk, if not packing.
        progress: what is told.

    Raises:
        OSError: the target cannot be written.
    """
    checksums = np.zeros(len(files), np.uint32)
    unreadable: dict[int, str] = {}
    size = max(1, min(CHUNK, CHUNK_BYTES // (3 * preprocess.store**2)))
    firsts = range(0, len(files), size)
    with _decoders(preprocess, target, threads, work, in_processes=len(files) >= few) as ask:
        pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        try:
            chunks = pool.map(lambda first: ask(first, files[first : first + size]), firsts)
            label = f"reading {len(files):,} pictures, {size} at a time"
            for first, chunk in zip(firsts, progress.track(chunks, len(firsts), label), strict=True):
                checksums[first : first + size] = chunk.checksums
                unreadable |= {first + i: reason for i, reason in chunk.unreadable.items()}
        finally:
            pool.shutdown(cancel_futures=True)
    return Decoded(checksums, unreadable)


@contextlib.contextmanager
def _decoders(
    preprocess: Preprocess, target: Path | None, count: int, work: Work, *, in_processes: bool
) -> Iterator[Ask]:
    workers = _start_workers(preprocess, target, count, work.module) if in_processes else []
    if not workers:
        yield partial(work.chunk, preprocess=preprocess, target=target)
        return
    idle: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def ask(first: int, files: Sequence[str]) -> Chunk:
        worker = idle.get()
        try:
            return worker.ask(first, files)
        finally:
            idle.put(worker)

    try:
        yield ask
    finally:
        for worker in workers:
            worker.stop()


def _start_workers(preprocess: Preprocess, target: Path | None, count: int, module: str) -> list["Worker"]:
    """`count` processes, ready; none at all where this system lets none be started."""
    setup = json.dumps({"preprocess": preprocess.to_dict(), "target": None if target is None else str(target)})
    workers: list[Worker] = []
    try:
        for _ in range(count):
            workers.append(Worker(setup, module))
        for worker in workers:
            worker.wait_until_ready()
    except (OSError, WorkerLost):
        for worker in workers:
            worker.stop()
        return []
    return workers


class WorkerLost(Exception):
    """A process ended, or was ended, without an answer; says why."""


class Worker:
    """A decoding process, replaced by a new one whenever it is lost.

    Args:
        setup: the first argument of the program, see `shoebox.data.worker`.
        module: whose `main` is the program.

    Raises:
        OSError: the system refuses to start a process.
    """

    def __init__(self, setup: str, module: str = PACKING.module) -> None:
        self._setup, self._module = setup, module
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[str]":
        # No fork, which threads and CUDA do not survive; and nothing is imported of the program that called Shoebox,
        # as multiprocessing's processes do. The module search path is this process's. OpenBLAS, which nothing here
        # uses, would start a thread per processor as numpy is imported: a third of what the start costs.
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(self._module), self._setup, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="ascii",
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )

    def wait_until_ready(self) -> None:
        """Wait for the process's first line.

        Raises:
            WorkerLost: it ended instead.
        """
        self._read_line()

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def ask(self, first: int, files: Sequence[str]) -> Chunk:
        """Decode a chunk; when that loses the process, each of its files on its own.

        Raises:
            OSError: the target cannot be written.
        """
        try:
            return self._ask(first, files)
        except WorkerLost as e:
            reason = str(e)
            self.stop()
            self._process = self._start()
            self.wait_until_ready()
        if len(files) == 1:
            return Chunk([0], {0: reason})
        alone = [self.ask(first + i, [file]) for i, file in enumerate(files)]
        checksums = [chunk.checksums[0] for chunk in alone]
        return Chunk(checksums, {i: chunk.unreadable[0] for i, chunk in enumerate(alone) if chunk.unreadable})

    def _ask(self, first: int, files: Sequence[str]) -> Chunk:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"first": first, "files": files}) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise WorkerLost("the decoding process had ended") from None
        while (line := self._read_line()) == "\n":
            pass
        answer = json.loads(line)
        if "errno" in answer:
            raise OSError(answer["errno"], answer["error"])
        return Chunk(answer["checksums"], {int(i): reason for i, reason in answer["unreadable"].items()})

    def _read_line(self) -> str:
        assert self._process.stdout is not None
        since = time.monotonic()
        alarm = Timer(PATIENCE, self._process.kill)
        alarm.start()
        try:
            line = self._process.stdout.readline()
        finally:
            alarm.cancel()
        if not line:
            hung = time.monotonic() - since >= PATIENCE
            raise WorkerLost(f"its decoder took over {PATIENCE:.0f} s" if hung else "its decoder crashed")
        return line
