"""Certificates: that a backend answers as the trained classifier did, shown on every validation picture.

In: a backend, and the Evaluation that training left (`val.npz`). Out: a `Certificate` with the agreement, the largest
difference of a probability, and every picture whose answer flipped; refused past its limits. What was measured is the
whole way, from the file through the decoder to the probabilities.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.files import atomic_write
from shoebox.base.progress import QUIET, Progress
from shoebox.base.runtime import machine_key
from shoebox.base.tables import plain
from shoebox.data.picture import Unreadable
from shoebox.deploy.backends import Backend, answers, is_exported, read_config
from shoebox.evaluation.evaluation import Evaluation

FILE = "certificate.json"


@dataclass(frozen=True)
class Limits:
    """What a backend may differ by.

    Attributes:
        agreement: the least share of pictures with the trained classifier's answer.
        difference: the most that a probability may differ on any picture.
    """

    agreement: float
    difference: float


EXACT = Limits(agreement=0.999, difference=0.01)
COARSE = {
    "onnx-int8": Limits(agreement=0.99, difference=0.5),
    "torch-bf16": Limits(agreement=0.999, difference=0.1),
    "openvino-bf16": Limits(agreement=0.999, difference=0.1),
}
"""Arithmetic in fewer digits differs more; the others are held to `EXACT`."""


@dataclass(frozen=True)
class Flip:
    """A picture whose answer changed: what the trained classifier says, what the backend says, how sure each is."""

    path: str
    trained: str
    trained_confidence: float
    backend: str
    backend_confidence: float


@dataclass(frozen=True)
class Certificate:
    """What a backend was measured to do.

    Attributes:
        backend: its name.
        pictures: how many it was run over.
        agreement: share of them with the same answer.
        largest_difference, mean_difference: of probabilities, over all pictures and classes.
        flips: every picture whose answer differs.
        limits: what it was held to.
        classifier: `fingerprint` of the run.
        machine: `machine_key` of where it was measured, since other processors round differently.
        files: the exported files and their SHA-256.
    """

    backend: str
    pictures: int
    agreement: float
    largest_difference: float
    mean_difference: float
    flips: tuple[Flip, ...]
    limits: Limits
    classifier: str
    machine: str
    files: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the backend may be used in the classifier's place."""
        return self.agreement >= self.limits.agreement and self.largest_difference <= self.limits.difference

    def summary(self) -> str:
        """One line for a person."""
        return (
            f"{self.backend}: {self.agreement:.2%} of {self.pictures:,} validation pictures answered alike "
            f"({len(self.flips)} flipped), probabilities differ by {self.largest_difference:.2g} at most"
        )

    def require(self) -> None:
        """Refuse a backend that did not pass.

        Raises:
            ShoeboxError: it says by how much, and names the first flipped picture.
        """
        if not self.passed:
            first = f"; the first flipped picture is {self.flips[0].path}" if self.flips else ""
            raise ShoeboxError(
                f"refused: {self.summary()}; at least {self.limits.agreement:.1%} alike and at most "
                f"{self.limits.difference:g} apart are required{first}"
            )

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Certificate:
        """The reverse of `dataclasses.asdict`."""
        flips = tuple(Flip(**flip) for flip in record["flips"])
        return cls(**{**record, "flips": flips, "limits": Limits(**record["limits"])})

    def save(self, folder: Path) -> None:
        """Write `certificate.json`."""
        with atomic_write(folder / FILE, "w") as file:
            json.dump(plain({**asdict(self), "passed": self.passed}), file, indent=2, ensure_ascii=False)


def certify(
    backend: Backend, evaluation: Evaluation, root: Path, classifier: str, *, progress: Progress = QUIET
) -> Certificate:
    """Run a backend over every picture of an evaluation and compare.

    Args:
        evaluation: what the trained classifier says of them.
        root: what the evaluation's paths are relative to.
        classifier: the fingerprint of the run, for the record.

    Raises:
        ShoeboxError: a picture can no longer be read, or the classes are not the evaluation's.
    """
    if backend.classes != evaluation.classes:
        raise ShoeboxError(f"{backend.name} has other classes than the trained classifier: export again")
    if not len(evaluation):
        raise ShoeboxError("the validation part is empty: there is nothing to certify a backend with")
    expected = evaluation.probabilities
    found = np.empty_like(expected)
    files = (root / path for path in evaluation.paths)
    rows = progress.track(answers(backend, files), len(evaluation), f"certifying {backend.name}")
    for row, (file, probabilities) in enumerate(rows):
        if isinstance(probabilities, Unreadable):
            raise ShoeboxError(f"{file} was a validation picture and can no longer be read ({probabilities.reason})")
        found[row] = probabilities
    # A value that is no number agrees with nothing.
    difference = np.nan_to_num(np.abs(found - expected), nan=1.0)
    now, names = found.argmax(axis=1), evaluation.classes
    flipped = np.flatnonzero(now != evaluation.predictions)
    return Certificate(
        backend=backend.name,
        pictures=len(evaluation),
        agreement=1 - len(flipped) / len(evaluation),
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        flips=tuple(
            Flip(
                evaluation.paths[row],
                names[evaluation.predictions[row]],
                float(evaluation.confidences[row]),
                names[now[row]],
                float(found[row, now[row]]),
            )
            for row in flipped.tolist()
        ),
        limits=COARSE.get(backend.name, EXACT),
        classifier=classifier,
        machine=machine_key(),
    )


def validation(run: Path, data: Path | None = None) -> tuple[Evaluation, Path]:
    """What the trained classifier says of its validation part, and the folder of those pictures.

    Args:
        data: where the pictures lie now, if they have moved.

    Raises:
        UsageError: the run has no validation part, or its pictures are not where they were.
    """
    record, facts = run / "val.npz", run / "run.json"
    if not record.is_file() or not facts.is_file():
        raise UsageError(f"{run} has no val.npz and run.json, with which an export is certified: train it with Shoebox")
    evaluation = Evaluation.load(record)
    root = data or Path(json.loads(facts.read_text(encoding="utf-8"))["root"])
    if evaluation.paths and not (root / evaluation.paths[0]).exists():
        raise UsageError(f"{root / evaluation.paths[0]} is gone: say where the pictures lie now with --data")
    return evaluation, root


def fingerprint(run: Path) -> str:
    """32 hex digits of what decides a classifier's answers: weights, temperature, classes and preprocessing."""
    config = read_config(run)
    digest = hashlib.blake2b(digest_size=16)
    decides = ("architecture", "label_names", "temperature", "preprocess")
    digest.update(json.dumps([config.get(key) for key in decides], sort_keys=True).encode())
    digest.update((run / "model.safetensors").read_bytes())
    return digest.hexdigest()


def identify(folder: Path) -> str:
    """The `fingerprint` of the classifier in a run's folder or an exported one."""
    return str(check(folder)["classifier"]) if is_exported(folder) else fingerprint(folder)


def hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of files of a folder."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def check(folder: Path) -> dict[str, Any]:
    """Hold an exported folder against its certificate.

    Returns:
        the certificate as it was saved.

    Raises:
        ShoeboxError: it did not pass, cannot be read, or a file was altered since.
    """
    try:
        record: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        files, passed = dict(record["files"]), record["passed"]
        if any(Path(name).name != name for name in files):
            raise ValueError("it names files elsewhere")
        altered = [name for name, digest in hashes(folder, files).items() if digest != files[name]]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise ShoeboxError(f"{folder / FILE} cannot be held against its files ({e}): export again") from e
    if altered or not passed:
        why = f"{', '.join(altered)} was altered since it was certified" if altered else "it was not certified"
        raise ShoeboxError(f"{folder} is refused: {why}; export again")
    return record
