"""Jobs: long commands of Shoebox run for the page, one at a time, in processes of their own.

In: the arguments of a verb. Out: a `Job` that says how far it is; its log and its answer lie in a folder. A training
that is stopped saves its state, as on Ctrl-C in a terminal, and the same job can be taken up again.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from shoebox.base.errors import ShoeboxError

State = Literal["running", "stopping", "done", "stopped", "failed"]

KEPT = 20
"""Jobs remembered; the oldest are forgotten first."""
LOG_BYTES = 16_000
"""Of the end of a log that is shown."""
AGAIN = 5.0
"""Seconds after which a job that should stop and has not is asked again: one that imports may not hear the first."""
PATIENCE = 20.0
"""Seconds that a job may take to save its state when the server ends, before it is killed."""


class Busy(ShoeboxError):
    """A job is running already."""


@dataclass
class Job:
    """One command.

    Attributes:
        number: counted from 1 in this server.
        kind: the verb: "train", "check", "report".
        title: what a person calls it.
        arguments: of the command, without the verb.
        folder: where its log (`log.txt`) and its answer (`answer.json`) are written.
        about: facts for whoever shows it.
        started: on `time.time`.
        ended: likewise; None while it runs.
        state: how it stands.
    """

    number: int
    kind: str
    title: str
    arguments: tuple[str, ...]
    folder: Path
    about: dict[str, Any] = field(default_factory=dict)
    started: float = 0.0
    ended: float | None = None
    state: State = "running"

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return (self.ended or time.time()) - self.started

    def log(self) -> str:
        """The end of what it said, whole lines."""
        try:
            with (self.folder / "log.txt").open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - LOG_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return text if size <= LOG_BYTES else text.partition("\n")[2]

    def answer(self) -> dict[str, Any] | None:
        """The JSON object it printed at its end; None where there is none."""
        try:
            found = json.loads((self.folder / "answer.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None


class Jobs:
    """The jobs of one server.

    Args:
        folder: made if missing; each job has a folder in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._jobs: dict[int, Job] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._current: Job | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._last = 0

    def start(self, kind: str, title: str, arguments: Sequence[str], **about: Any) -> Job:
        """Start a command: `python -m shoebox` with these arguments and `--json`.

        Raises:
            Busy: another one is running.
            OSError: the process cannot be started or the folder not be written.
        """
        with self._lock:
            if self._closed:
                raise Busy("the server is ending")
            if self._current is not None:
                raise Busy(f"{self._current.title} is running: wait for it, or stop it first")
            self._last += 1
            folder = self._folder / f"job-{self._last}"
            folder.mkdir(parents=True, exist_ok=True)
            job = Job(self._last, kind, title, tuple(arguments), folder, about, started=time.time())
            with (folder / "log.txt").open("wb") as log, (folder / "answer.json").open("wb") as answer:
                # Its own folder as the current one, so that nothing that lies in the person's is imported by it; its
                # own session, so that Ctrl-C reaches it through `close` and not before.
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "shoebox", kind, "--json", *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=answer,
                    stderr=log,
                    cwd=folder,
                    start_new_session=True,
                )
            self._jobs[job.number] = self._current = job
            for old in sorted(self._jobs)[:-KEPT]:
                del self._jobs[old]
            threading.Thread(target=self._watch, args=(job, self._process), daemon=True).start()
        return job

    def get(self, number: int) -> Job | None:
        """A job by its number; None if there is none, or no longer."""
        return self._jobs.get(number)

    def all(self) -> list[Job]:
        """The newest first."""
        return [self._jobs[number] for number in sorted(self._jobs, reverse=True)]

    def stop(self, number: int) -> None:
        """Ask a running job to save its state and end; no more than asking. Another one is left alone."""
        with self._lock:
            job = self._current
            if job is not None and job.number == number:
                job.state = "stopping"
                self._signal(signal.SIGINT)

    def close(self) -> None:
        """End whatever runs: asked first, killed after `PATIENCE` seconds. No job can be started any more."""
        with self._lock:
            self._closed = True
            process = self._process
            if self._current is not None:
                self._current.state = "stopping"
                self._signal(signal.SIGINT)
        if process is not None:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))
                process.wait()

    def _signal(self, number: int) -> None:
        """Signal the job's whole process group: the processes that decode for it too."""
        if self._process is None or self._process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if os.name == "nt":
                self._process.terminate()
            else:
                os.killpg(self._process.pid, number)

    def _watch(self, job: Job, process: subprocess.Popen[bytes]) -> None:
        while True:
            try:
                code = process.wait(AGAIN)
                break
            except subprocess.TimeoutExpired:
                with self._lock:
                    if job.state == "stopping":
                        self._signal(signal.SIGINT)
        with self._lock:
            job.ended = time.time()
            job.state = "done" if code == 0 else "stopped" if job.state == "stopping" else "failed"
            self._current = self._process = None
