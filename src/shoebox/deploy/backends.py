"""Backends: the ways to compute one classifier's probabilities, some of which need no torch.

In: stored pictures as `shoebox.data.picture.load` gives them, uint8 (N, S, S, 3). Out: probabilities and features.
Nothing heavy is imported before a backend is opened: an exported folder answers in a process that never sees torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import MissingExtra, ShoeboxError, UsageError
from shoebox.base.onnxruntime import import_onnxruntime
from shoebox.base.runtime import at_once
from shoebox.data.picture import Unreadable
from shoebox.data.preprocess import Preprocess
from shoebox.data.reading import work_through
from shoebox.data.stream import processors

if TYPE_CHECKING:
    from shoebox.classifier import Classifier

Item = TypeVar("Item", bound="str | Path | bytes | NDArray[np.uint8]")

MOST_AT_ONCE = 32
"""Pictures in a batch of an exported network, since the first waits for the last; of large ones fewer, as a cache
holds. MobileNetV2 at 224 px served 168 answers a second in batches of 16, 188 in batches of 8, 175 in batches of 4."""

INPUT, OUTPUTS = "pictures", ("probabilities", "features")
"""The names of an exported graph's input and outputs."""

Scores = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Calibrated probabilities (N, K), and the features (N, D) that the head saw."""


class Backend(Protocol):
    """One way to compute a classifier's probabilities.

    Attributes:
        name: "torch", "onnx", …; what certificates and timings are filed under.
        classes: names, in the order of the probabilities.
        preprocess: how a picture is stored before it is given to `scores`.
        workers: in how many threads `scores` may run at once.
        batch: how many pictures at a time suit it.
    """

    name: str
    classes: tuple[str, ...]
    preprocess: Preprocess
    workers: int
    batch: int

    def scores(self, pictures: NDArray[np.uint8]) -> Scores:
        """What the classifier says of stored pictures, (N, S, S, 3) uint8."""


class _Exported:
    """What all exported classifiers have: the folder's `config.json`."""

    def __init__(self, name: str, folder: Path, config: dict[str, Any]) -> None:
        self.name = name
        self.folder = folder
        self.classes = tuple(config["label_names"])
        self.preprocess = Preprocess.from_dict(config["preprocess"])
        self.batch = min(MOST_AT_ONCE, at_once("cpu", self.preprocess.size, self.preprocess.looks))
        self.workers = processors()


class OnnxBackend(_Exported):
    """An ONNX file in ONNX Runtime, on the CPU.

    With several pictures at hand each processor computes a batch of its own, which needs no synchronising; so the
    session has one thread. `alone=True` gives one picture all processors instead.

    Raises:
        MissingExtra: onnxruntime is not installed.
        ShoeboxError: the file cannot be loaded. Weights outside the file, which a hostile one could point anywhere,
            are never followed out of it.
    """

    def __init__(self, name: str, folder: Path, config: dict[str, Any], *, alone: bool = False) -> None:
        super().__init__(name, folder, config)
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.workers if alone else 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that wait by spinning would take the processors from those that decode.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        model = (folder / "model.onnx").read_bytes()
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as e:  # its errors share no base class of their own
            raise ShoeboxError(f"{folder / 'model.onnx'} cannot be loaded ({_first_line(e)}): export again") from e
        if alone:
            self.workers = 1

    def scores(self, pictures: NDArray[np.uint8]) -> Scores:
        """See `Backend`."""
        probabilities, features = self._session.run(OUTPUTS, {INPUT: pictures})
        return probabilities, features


class OpenVinoBackend(_Exported):
    """An OpenVINO model on the CPU, in float32 or, as "openvino-bf16", in bfloat16.

    Raises:
        MissingExtra: openvino is not installed.
        ShoeboxError: the files cannot be loaded.
    """

    def __init__(self, name: str, folder: Path, config: dict[str, Any], *, alone: bool = False) -> None:
        super().__init__(name, folder, config)
        try:
            import openvino
        except ImportError as e:
            raise MissingExtra("openvino", "openvino") from e
        streams = 1 if alone else self.workers
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if name.endswith("-bf16") else "f32",
            "NUM_STREAMS": str(streams),
            "INFERENCE_NUM_THREADS": str(self.workers),
        }
        try:
            core = openvino.Core()
            self._model = core.compile_model(core.read_model(folder / "model.xml"), "CPU", settings)
        except RuntimeError as e:
            raise ShoeboxError(f"{folder / 'model.xml'} cannot be loaded ({_first_line(e)}): export again") from e
        self._own = local()  # a request serves one thread at a time
        self.workers = streams
        # Its bindings make things of their own when first used; two threads that do so at once were seen to wait for
        # each other for ever.
        side = self.preprocess.store
        self.scores(np.zeros((1, side, side, 3), np.uint8))

    def scores(self, pictures: NDArray[np.uint8]) -> Scores:
        """See `Backend`."""
        if not hasattr(self._own, "request"):
            self._own.request = self._model.create_infer_request()
        found = self._own.request.infer([pictures])
        return found[0].copy(), found[1].copy()


class TorchBackend:
    """The classifier itself, layer by layer as it was trained: what the others are held against."""

    name = "torch"
    workers = 1
    batch = 64

    def __init__(self, classifier: Classifier) -> None:
        self.classes = classifier.classes
        self.preprocess = classifier.preprocess
        self._classifier = classifier

    def scores(self, pictures: NDArray[np.uint8]) -> Scores:
        """See `Backend`."""
        import torch

        logits, features = self._classifier.scores(torch.from_numpy(pictures).permute(0, 3, 1, 2))
        return logits.softmax(1).numpy(), features.numpy()


_RUNNERS: dict[str, type[OnnxBackend] | type[OpenVinoBackend]] = {
    "onnx": OnnxBackend,
    "onnx-int8": OnnxBackend,
    "web": OnnxBackend,
    "openvino": OpenVinoBackend,
    "openvino-bf16": OpenVinoBackend,
}


def is_exported(folder: Path) -> bool:
    """Whether a folder is one that `shoebox export` made."""
    return (folder / "certificate.json").is_file()


def read_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a run or an exported folder.

    Raises:
        UsageError: there is none.
        ShoeboxError: it cannot be read.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(config, dict) or not {"label_names", "preprocess"} <= config.keys():
            raise ValueError("it names no classes or no preprocessing")
    except FileNotFoundError:
        raise UsageError(
            f"{folder} is neither a trained classifier nor an exported one: expected a folder with config.json, as "
            "`shoebox train` and `shoebox export` write"
        ) from None
    except (OSError, ValueError) as e:
        raise ShoeboxError(f"{folder / 'config.json'} is damaged ({e}): train or export again") from e
    return config


def open_exported(folder: Path, name: str | None = None, *, alone: bool = False) -> OnnxBackend | OpenVinoBackend:
    """Open an exported folder, without its certificate being looked at.

    Args:
        name: the backend, where a folder can be run in several ways; by default the one it was exported as.
        alone: pictures will come one at a time.

    Raises:
        UsageError: the folder is exported for other programs, or none at all.
        ShoeboxError: it is damaged.
    """
    config = read_config(folder)
    name = name or str(config.get("exported"))
    if name not in _RUNNERS:
        raise UsageError(f"{folder} is exported as {name!r}, which Shoebox does not run: choose {', '.join(_RUNNERS)}")
    try:
        return _RUNNERS[name](name, folder, config, alone=alone)
    except (KeyError, TypeError) as e:
        raise ShoeboxError(f"{folder / 'config.json'} is damaged ({_first_line(e)}): export again") from e


def answers(
    backend: Backend, items: Iterable[Item], scores: Callable[[NDArray[np.uint8]], Scores] | None = None
) -> Iterator[tuple[Item, NDArray[np.float32] | Unreadable]]:
    """Each item in order with its probabilities (K,), or with why it could not be read; decoding overlaps computing.

    Args:
        scores: what to compute instead of the backend's own `scores`.
    """
    work = scores or backend.scores
    return work_through(
        items, backend.preprocess, lambda pictures: work(pictures)[0], chunk=backend.batch, workers=backend.workers
    )


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
