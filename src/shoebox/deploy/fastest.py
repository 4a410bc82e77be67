"""The fastest way to run a classifier on this machine: measured once, remembered in the run's folder, used by all.

In: a run's folder. Out: a `Backend`. Only backends with a certificate made on this machine are considered; without
any, or after the classifier has changed, the classifier itself answers.
"""

from __future__ import annotations

import importlib.util
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.files import atomic_write
from shoebox.base.progress import QUIET, Progress
from shoebox.base.runtime import bf16_gain, machine_key
from shoebox.data.picture import load
from shoebox.deploy.backends import Backend, TorchBackend, is_exported, open_exported
from shoebox.deploy.certificate import Certificate, certify, check, fingerprint, validation

MEMORY = "backends.json"
BATCHES = (4, 16, 64)
ROUNDS, SAMPLE, LEAST_SECONDS = 3, 64, 0.1
ENOUGH_SECONDS = 10.0
"""After so long no further round is begun: trials that take seconds do not fall into one busy moment."""
FEW = 64
"""Up to this many pictures, loading torch takes longer than any backend saves."""

_LIBRARY = {"onnx": "onnxruntime", "onnx-int8": "onnxruntime", "openvino": "openvino", "openvino-bf16": "openvino"}


@dataclass(frozen=True)
class Timing:
    """What one backend does on this machine.

    Attributes:
        backend: its name.
        speed: stored pictures a second, decoding not counted.
        batch: at how many at a time.
        agreement, largest_difference: from its certificate.
        certified: whether it may be used.
    """

    backend: str
    speed: float
    batch: int
    agreement: float
    largest_difference: float
    certified: bool


def exports_of(run: Path) -> Path:
    """Where the exports of a run lie, each in a folder of its backend's name."""
    return run / "exports"


def measure(
    run: Path, data: Path | None = None, *, fresh: Certificate | None = None, progress: Progress = QUIET
) -> list[Timing]:
    """Certify and time whatever can run this classifier here, and remember the result, the fastest first.

    What was certified here before, for this classifier, is only timed.

    Args:
        data: where the validation pictures lie, if they have moved.
        fresh: the certificate of what was exported just now.
    """
    from shoebox.classifier import Classifier

    evaluation, root = validation(run, data)
    mark, classifier = fingerprint(run), Classifier.load(run, "cpu")
    known = {timing.backend: timing for timing in remembered(run, mark)}
    new = None if fresh is None else _home(run, fresh.backend)
    plain: Backend = TorchBackend(classifier)
    backends = [plain]
    facts: dict[str, tuple[float, float, bool]] = {plain.name: (1.0, 0.0, True)}
    for backend in _candidates(run, classifier, progress):
        timing = known.get(backend.name)
        if timing is not None and _home(run, backend.name) != new:
            facts[backend.name] = timing.agreement, timing.largest_difference, timing.certified
        else:
            again = fresh is None or fresh.backend != backend.name
            made = certify(backend, evaluation, root, mark, progress=progress) if again else fresh
            assert made is not None
            facts[backend.name] = made.agreement, made.largest_difference, made.passed
        backends.append(backend)
    pictures = np.stack([load(root / path, classifier.preprocess) for path in evaluation.paths[:SAMPLE]])
    speeds = _speeds(backends, pictures, progress)
    timings = []
    for name, (agreement, difference, certified) in facts.items():
        speed, batch = speeds[name]
        timings.append(Timing(name, speed, batch, agreement, difference, certified))
    timings.sort(key=lambda timing: -timing.speed)
    _remember(run, mark, timings)
    return timings


def open_backend(folder: Path, device: str = "auto", *, count: int | None = None) -> Backend:
    """Open what answers for a run or an exported folder.

    Args:
        folder: of a run, or one that `shoebox export` made.
        device: "auto" for the fastest certified backend remembered for this machine; any other asks for the classifier
            itself on that device.
        count: how many pictures are to come, if that is known; few are answered without loading torch if they can be.

    Raises:
        UsageError: it is neither, or an exported folder is asked for on another device than the CPU.
        ShoeboxError: its files are damaged or were altered since they were certified.
    """
    alone = count == 1
    if is_exported(folder):
        if device not in ("auto", "cpu"):
            raise UsageError(f"{folder} is exported for the CPU: give the run's folder to use {device}")
        check(folder)
        return open_exported(folder, alone=alone)
    for timing in _usable(folder, count) if device == "auto" else ():
        if timing.backend in _LIBRARY:
            try:
                home = _home(folder, timing.backend)
                check(home)
                backend: Backend = open_exported(home, timing.backend, alone=alone)
            except ShoeboxError:
                continue  # removed, or altered since: the next one stands in
        elif timing.backend == "torch":
            break
        else:
            from shoebox.classifier import Classifier
            from shoebox.deploy.folded import FoldedBackend

            backend = FoldedBackend(Classifier.load(folder, "cpu"), timing.backend)
        backend.batch = timing.batch
        return backend
    from shoebox.classifier import Classifier

    return TorchBackend(Classifier.load(folder, device))


def remembered(run: Path, mark: str) -> list[Timing]:
    """What was measured on this machine for the classifier with this fingerprint, the fastest first."""
    entry = _memory(run).get(machine_key(), {})
    try:
        return [Timing(**timing) for timing in entry["backends"]] if entry.get("classifier") == mark else []
    except (KeyError, TypeError, AttributeError):
        return []


def _usable(run: Path, count: int | None) -> list[Timing]:
    if not (run / MEMORY).is_file():
        return []
    timings = [timing for timing in remembered(run, fingerprint(run)) if timing.certified and _is_there(timing.backend)]
    if count is not None and count <= FEW:
        timings.sort(key=lambda timing: timing.backend not in _LIBRARY)
    return timings


def _is_there(backend: str) -> bool:
    return backend not in _LIBRARY or importlib.util.find_spec(_LIBRARY[backend]) is not None


def _home(run: Path, backend: str) -> Path:
    return exports_of(run) / backend.removesuffix("-bf16")


def _candidates(run: Path, classifier: Any, progress: Progress) -> list[Backend]:
    from shoebox.deploy.folded import FoldedBackend

    found: list[Backend] = [FoldedBackend(classifier)]
    # Without instructions for bfloat16 it is slower than float32, and so slow that measuring it would take minutes.
    fast_bf16 = bf16_gain() > 1
    if fast_bf16:
        found.append(FoldedBackend(classifier, "torch-bf16"))
    for name in _LIBRARY:
        folder = _home(run, name)
        if not is_exported(folder) or not _is_there(name) or (name.endswith("-bf16") and not fast_bf16):
            continue
        try:
            check(folder)
            found.append(open_exported(folder, name))
        except ShoeboxError as e:
            progress.say(f"{name} is left out: {e}")
    return found


def _speeds(backends: list[Backend], pictures: NDArray[np.uint8], progress: Progress) -> dict[str, tuple[float, int]]:
    """Pictures a second and the best batch of each; in rounds, so that a busy moment does not fall on one alone."""
    best: dict[str, tuple[float, int]] = {backend.name: (0.0, backend.batch) for backend in backends}
    trials = [(again, backend, batch) for again in range(ROUNDS) for backend in backends for batch in BATCHES]
    began = time.perf_counter()
    for again, backend, batch in progress.track(trials, len(trials), "timing"):
        if again and time.perf_counter() - began > ENOUGH_SECONDS:
            break
        # Every worker has a batch, and as many pictures as stored ones: repeated where there are too few of them.
        count = max(len(pictures), batch * backend.workers)
        work = np.resize(pictures, (count, *pictures.shape[1:]))
        parts = [work[i : i + batch] for i in range(0, count, batch)]
        with ThreadPoolExecutor(backend.workers) as threads:
            list(threads.map(backend.scores, parts[: backend.workers]))  # the first call of a shape is slower
            done, start, seconds = 0, time.perf_counter(), 0.0
            while seconds < LEAST_SECONDS:
                list(threads.map(backend.scores, parts))
                done += count
                seconds = time.perf_counter() - start
        best[backend.name] = max(best[backend.name], (done / seconds, batch))
    return best


def _memory(run: Path) -> dict[str, Any]:
    try:
        memory = json.loads((run / MEMORY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return memory if isinstance(memory, dict) else {}


def _remember(run: Path, mark: str, timings: list[Timing]) -> None:
    memory = _memory(run)
    memory[machine_key()] = {"classifier": mark, "backends": [asdict(timing) for timing in timings]}
    with atomic_write(run / MEMORY, "w") as file:
        json.dump(memory, file, indent=2)
