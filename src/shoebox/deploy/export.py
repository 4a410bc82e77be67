"""Export: a trained classifier for use elsewhere, certified on every validation picture before it is let out.

In: a run. Out: a folder with the model, `config.json`, `certificate.json` and a card, and the fastest certified way to
run the classifier on this machine, remembered in the run's folder. To add a form, register a function in `EXPORTS`.
"""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import MissingExtra, UsageError
from shoebox.base.files import atomic_write
from shoebox.base.progress import QUIET, Progress
from shoebox.base.registry import Registry
from shoebox.data.picture import load
from shoebox.data.stream import processors
from shoebox.deploy.backends import Backend, is_exported, open_exported
from shoebox.deploy.certificate import Certificate, certify, fingerprint, hashes, validation
from shoebox.deploy.doubt import carry
from shoebox.deploy.fastest import Timing, exports_of, measure

if TYPE_CHECKING:
    from shoebox.classifier import Classifier
    from shoebox.deploy.graph import Sample

EXPORTS: Registry[Callable[..., None]] = Registry("export")
"""Functions `(classifier, folder, sample, *, options) -> None` that write the model's files into an empty folder;
`sample(n)` gives n training pictures."""


@EXPORTS.register
def onnx(classifier: Classifier, folder: Path, sample: Sample, *, opset: int = 18) -> None:
    """One ONNX file, for ONNX Runtime, OpenVINO, TensorRT, browsers; opens in Netron."""
    from shoebox.deploy.graph import onnx_model

    model = onnx_model(classifier, opset)
    (folder / "model.onnx").write_bytes(model.SerializeToString())


@EXPORTS.register(name="onnx-int8")
def onnx_int8(classifier: Classifier, folder: Path, sample: Sample, *, opset: int = 18, calibration: int = 256) -> None:
    """The same in eight bits: a quarter of the size, and faster where the processor has instructions for it.

    `calibration` training pictures show the ranges of the activations.
    """
    from shoebox.deploy.graph import onnx_model, quantise

    whole = folder / "whole.onnx"
    whole.write_bytes(onnx_model(classifier, opset).SerializeToString())
    quantise(whole, folder / "model.onnx", sample(calibration))
    whole.unlink()


@EXPORTS.register
def openvino(classifier: Classifier, folder: Path, sample: Sample) -> None:
    """OpenVINO's model.xml and model.bin, float32, for Intel's runtime on any CPU."""
    try:
        import openvino as ov
    except ImportError as e:
        raise MissingExtra("openvino", "openvino") from e
    from shoebox.deploy.graph import onnx_model
    from shoebox.deploy.metadata import graph_metadata

    model = ov.Core().read_model(onnx_model(classifier, 18).SerializeToString())
    for key, value in graph_metadata(classifier).items():
        model.set_rt_info(value, ["model_info", key])
    ov.save_model(model, folder / "model.xml", compress_to_fp16=False)


@EXPORTS.register(name="torch-export")
def torch_export(classifier: Classifier, folder: Path, sample: Sample) -> None:
    """A torch.export program, for AOTInductor, ExecuTorch and torch itself."""
    import torch

    from shoebox.deploy.graph import export_program

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of weights that share memory, which are written whole
        torch.export.save(export_program(classifier), folder / "model.pt2")


@EXPORTS.register
def web(classifier: Classifier, folder: Path, sample: Sample, *, package: str | None = None) -> None:
    """One HTML page that runs the ONNX model in the browser, offline; `package` is the folder of onnxruntime-web."""
    from shoebox.deploy.web import write_page

    onnx(classifier, folder, sample)
    write_page(folder, classifier.config(), package)


def export(
    run: Path, to: str = "onnx", out: Path | None = None, data: Path | None = None, *, progress: Progress = QUIET
) -> dict[str, Any]:
    """Export, certify, and time what can run the classifier here.

    Args:
        run: the folder of a trained classifier.
        to: an entry of `EXPORTS` with its options, as in "onnx(opset=17)".
        out: the folder to make; by default `RUN/exports/<name>`, where `predict` and the others find it. An earlier
            export there is replaced, once the new one has been certified.
        data: where the pictures that it was trained on lie, if they have moved.

    Returns:
        folder, the certificate, and timings (the fastest first).

    Raises:
        UsageError: there is no such form, `out` holds something else, or the validation pictures are gone.
        ShoeboxError: the certificate is refused; nothing is left of the export.
        MissingExtra: a library is not installed.
    """
    from shoebox.classifier import Classifier

    name, _ = EXPORTS.check(to)
    folder = out or exports_of(run) / name
    if folder.exists() and not is_exported(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} holds something that is no export: choose another folder")
    classifier = Classifier.load(run, "cpu")
    evaluation, root = validation(run, data)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".export-", dir=folder.parent))
    try:
        progress.say(f"exporting {classifier.model} as {name}")
        EXPORTS.build(to, classifier, made, lambda count: _sample(run, root, classifier, count))
        files = sorted(path.name for path in made.iterdir())
        _describe(classifier, name, made, files)
        files.append(carry(evaluation, made))
        mark = fingerprint(run)
        certificate = certify(_opened(classifier, made, name), evaluation, root, mark, progress=progress)
        certificate = replace(certificate, files=hashes(made, [*files, "config.json"]))
        certificate.require()
        certificate.save(made)
        made.chmod(0o755)
        _put(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    progress.say(certificate.summary())
    timings = measure(run, data, fresh=certificate, progress=progress) if folder == exports_of(run) / name else []
    return {"folder": str(folder), "certificate": asdict(certificate), "timings": [asdict(t) for t in timings]}


def summary(result: dict[str, Any]) -> str:
    """What a person wants to know of an export."""
    certificate = Certificate.from_dict(result["certificate"])
    lines = [certificate.summary()]
    lines += [
        f"  {flip.path}: {flip.trained} ({flip.trained_confidence:.1%}) became {flip.backend} "
        f"({flip.backend_confidence:.1%})"
        for flip in certificate.flips
    ]
    timings = [Timing(**timing) for timing in result["timings"]]
    lines += [
        f"{t.backend:14} {t.speed:8,.0f} pictures/s in batches of {t.batch}"
        + ("" if t.certified else f"  not certified: {t.agreement:.2%} alike, {t.largest_difference:.2g} apart")
        for t in timings
    ]
    best = next((t.backend for t in timings if t.certified), None)
    if best is not None:
        lines.append(f"predict and sort use {best} on this machine from now on")
    return "\n".join([*lines, f"exported to {result['folder']}"])


def _describe(classifier: Classifier, name: str, folder: Path, files: list[str]) -> None:
    from shoebox.deploy.metadata import exported_config, readme

    with atomic_write(folder / "config.json", "w") as file:
        json.dump(exported_config(classifier, name), file, indent=2, ensure_ascii=False)
    with atomic_write(folder / "README.md", "w") as file:
        file.write(readme(classifier, name, files))


def _opened(classifier: Classifier, folder: Path, name: str) -> Backend:
    """What was just written, ready to be certified."""
    if name == "torch-export":
        from shoebox.deploy.folded import ProgramBackend

        return ProgramBackend(classifier, folder / "model.pt2")
    return open_exported(folder, name)


def _put(made: Path, folder: Path) -> None:
    """Give a finished export its name, with the one before it put aside until then."""
    if folder.exists():
        with tempfile.TemporaryDirectory(prefix=".export-", dir=folder.parent) as aside:
            folder.rename(Path(aside) / "before")
            made.rename(folder)
    else:
        made.rename(folder)


def _sample(run: Path, root: Path, classifier: Classifier, count: int) -> NDArray[np.uint8]:
    """Training pictures chosen evenly from all of them, never validation's, which are to judge the result."""
    with (run / "split.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file) if row["part"] == "train"]
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int))
    with ThreadPoolExecutor(processors()) as threads:
        return np.stack(list(threads.map(lambda i: load(root / paths[i], classifier.preprocess), chosen)))
