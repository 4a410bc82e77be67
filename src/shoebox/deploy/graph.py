"""A classifier as one graph: stored pixels in, calibrated probabilities out, nothing left to do for the caller.

In: a Classifier. Out: a module that `torch.export` follows, the ONNX file of it, its int8 form.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from shoebox.base.errors import MissingExtra, ShoeboxError
from shoebox.base.onnxruntime import import_onnxruntime
from shoebox.deploy.backends import INPUT, OUTPUTS
from shoebox.deploy.metadata import graph_metadata

if TYPE_CHECKING:
    import onnx

    from shoebox.classifier import Classifier

FIRST = 4
"""Convolutions that int8 leaves as they are, or the first half of fewer."""

Sample = Callable[[int], NDArray[np.uint8]]
"""That many training pictures, or all if there are fewer: uint8 (n, S, S, 3)."""

IR_VERSION = 10
"""ONNX Runtime 1.18 and later read it."""


class Graph(nn.Module):
    """uint8 (N, S, S, 3), as every decoder gives pictures, to probabilities (N, K) and features (N, D).

    Where the network sees another size than is stored, the antialiased resize is done as two products with fixed
    matrices: the same sums as `interpolate`, in operators that every runtime has and none reads differently.
    """

    rows: Tensor | None

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.pipeline = classifier.pipeline
        store, size = classifier.preprocess.store, classifier.preprocess.size
        self.register_buffer("rows", None if store == size else resizing(store, size).to(classifier.device))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        x = pictures.permute(0, 3, 1, 2)
        if self.rows is not None:
            x = self.rows @ (x.float() @ self.rows.T)
        features = self.pipeline.features(x)
        return self.pipeline.logits(features).softmax(1), features


def resizing(store: int, size: int) -> Tensor:
    """The matrix (size, store) whose product with a column of pixels is `interpolate`'s antialiased bilinear resize."""
    unit = torch.eye(store)[None, None]
    return F.interpolate(unit, (size, store), mode="bilinear", antialias=True, align_corners=False)[0, 0]


def export_program(classifier: Classifier) -> torch.export.ExportedProgram:
    """The graph with any number of pictures at once.

    Raises:
        ShoeboxError: the network cannot be traced.
    """
    side = classifier.preprocess.store
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8, device=classifier.device)
    shapes = ({0: torch.export.Dim("n", min=1)},)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about itself
            return torch.export.export(Graph(classifier).eval(), (example,), dynamic_shapes=shapes)
    except Exception as e:  # the tracer's errors are of many kinds
        raise ShoeboxError(f"{classifier.model} cannot be exported ({str(e).strip().splitlines()[0][:200]})") from e


def onnx_model(classifier: Classifier, opset: int) -> onnx.ModelProto:
    """The graph as an ONNX model with its metadata, checked.

    Raises:
        MissingExtra: onnx or onnxscript is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 (torch.onnx needs it and says so less clearly)
    except ImportError as e:
        raise MissingExtra(str(e.name), "export") from e
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.onnx.export(
            export_program(classifier),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    if made is None:
        raise ShoeboxError(f"{classifier.model} cannot be exported to ONNX")
    model: onnx.ModelProto = made.model_proto
    plain_graph(model)
    for key, value in graph_metadata(classifier).items():
        model.metadata_props.add(key=key, value=value)
    model.ir_version = min(model.ir_version, IR_VERSION)
    onnx.checker.check_model(model)
    return model


def plain_graph(model: Any) -> None:
    """Take out the tracer's notes, which name files of the machine it ran on and fill most of a small file."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""


def quantise(source: Path, target: Path, pictures: NDArray[np.uint8]) -> None:
    """Weights and activations of convolutions in eight bits, in ONNX's QDQ form.

    Weights are rounded channel by channel; the range of each activation runs from the least to the greatest value of a
    batch of training pictures, averaged over batches (Krishnamoorthi 2018, arXiv:1806.08342). All else stays: the first
    convolutions, since what they round away no later one can bring back, and those of one channel each (depthwise),
    which compute little and suffer most. Seen here, with three draws of pictures: MobileNetV2 on imagenette answers
    99.3 to 99.4 % of pictures as in float32 so, 98.8 to 98.9 % without the average and the last exception, 98.0 % with
    everything rounded.

    Args:
        source: an ONNX file.
        pictures: uint8 (n, S, S, 3), from the training part.
    """
    import_onnxruntime()
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        """Batches in the form that the calibration asks for."""

        def __init__(self) -> None:
            self.batches = iter([{INPUT: pictures[i : i + 16]} for i in range(0, len(pictures), 16)])

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            return next(self.batches, None)

    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    convolutions = [node for node in onnx.load(str(prepared)).graph.node if node.op_type == "Conv"]
    first = [node.name for node in convolutions[: min(FIRST, len(convolutions) // 2)]]
    depthwise = [node.name for node in convolutions if any(a.name == "group" and a.i > 1 for a in node.attribute)]
    quantization.quantize_static(
        str(prepared),
        str(target),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        nodes_to_exclude=list({*first, *depthwise}),
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        calibrate_method=quantization.CalibrationMethod.MinMax,
        extra_options={"CalibMovingAverage": True},
    )
    prepared.unlink()
