"""What a network is made of: its layers with shapes, parameters and multiply-adds; and the list of all networks.

In: a network and a picture size. Out: one row a layer, and totals. Costs are counted while one picture of zeros passes,
by what torch's flop counter knows of each operation: exact for convolutions and matrix products, attention's included;
everything else is free.
"""

import inspect
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from shoebox.models.network import MODELS, Network


@dataclass(frozen=True)
class LayerRow:
    """One layer as the picture met it."""

    name: str
    """Dotted, as in the network's state dict; "" is the network itself."""
    kind: str
    """The layer's class."""
    shape: tuple[int, ...]
    """Of its output for one picture, without the batch; () where it gives no tensor or is never called."""
    parameters: int
    """Its own, without those of layers within it."""
    multiply_adds: int
    """Its own, for one picture."""


@dataclass(frozen=True)
class Summary:
    """All layers of a network and their totals."""

    rows: tuple[LayerRow, ...]
    parameters: int
    trainable: int
    multiply_adds: int

    def __str__(self) -> str:
        """The layer table as aligned text."""
        head = ("layer", "kind", "output", "parameters", "multiply-adds")
        lines = [
            (row.name, row.kind, "×".join(map(str, row.shape)), f"{row.parameters:,}", f"{row.multiply_adds:,}")
            for row in self.rows
        ]
        total = ("total", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}")
        table = [head, *lines, total]
        widths = [max(len(line[i]) for line in table) for i in range(len(head))]
        text = [
            "  ".join(
                cell.rjust(w) if i > 2 else cell.ljust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
            )
            for line in table
        ]
        return "\n".join(line.rstrip() for line in text)


def summary(network: nn.Module, size: int) -> Summary:
    """Pass one picture through a network and say what every layer is and costs.

    Args:
        network: on any device, "meta" included (then nothing is computed); left in the mode it was in.
        size: side of the picture, px.
    """
    modules = dict(network.named_modules())
    shapes: dict[str, tuple[int, ...]] = {}
    costs = _Costs()

    def enter(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any) -> None:
            del module, inputs
            costs.within.append(name)

        return hook

    def leave(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            del module, inputs
            costs.within.pop()
            shapes.setdefault(name, tuple(output.shape[1:]) if isinstance(output, Tensor) else ())

        return hook

    handles = [module.register_forward_pre_hook(enter(name)) for name, module in modules.items()]
    handles += [module.register_forward_hook(leave(name)) for name, module in modules.items()]
    modes = {name: module.training for name, module in modules.items()}
    network.eval()
    try:
        device = next(network.parameters()).device
        # Plain attention: the counter does not see into the fused one of CPUs.
        with torch.no_grad(), costs, sdpa_kernel(SDPBackend.MATH):
            network(torch.zeros(1, 3, size, size, device=device))
    finally:
        for handle in handles:
            handle.remove()
        for name, module in modules.items():
            module.training = modes[name]
    rows = []
    for name in [*shapes, *(name for name in modules if name not in shapes)]:
        module = modules[name]
        parameters = sum(p.numel() for p in module.parameters(recurse=False))
        is_leaf = next(module.children(), None) is None and name in shapes
        if parameters or costs.own[name] or (is_leaf and not isinstance(module, nn.Identity)):
            rows.append(LayerRow(name, type(module).__name__, shapes.get(name, ()), parameters, costs.own[name]))
    everything = list(network.parameters())
    return Summary(
        tuple(rows),
        sum(p.numel() for p in everything),
        sum(p.numel() for p in everything if p.requires_grad),
        sum(costs.own.values()),
    )


class _Costs(TorchDispatchMode):
    """Counts the multiply-adds of what torch computes within it, each for the layer it is called in.

    torch's `FlopCounterMode` counts the same, but imports torch's compiler first, which takes a second.

    Attributes:
        own: by layer, those outside the layers within it.
        within: the layers that are being passed, outermost first.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.own: dict[str, int] = defaultdict(int)
        self.within: list[str] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports the compiler, to tell it that it may not look in here

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        count = flop_registry.get(func._overloadpacket)
        if count is None:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        output = func(*args, **kwargs)
        if count is not None:
            self.own[self.within[-1]] += count(*args, **kwargs, out_val=output) // 2  # a multiply-add is two flops
        return output


@dataclass(frozen=True)
class ModelRow:
    """One network of `MODELS`, as `shoebox models` lists it."""

    name: str
    about: str
    parameters: int
    gflops: float
    """Forward, for one picture: 2 × multiply-adds / 10⁹."""
    options: str


def describe_models(classes: int = 10, size: int = 32) -> list[ModelRow]:
    """Every network from scratch with what it costs; built on the "meta" device, so that nothing is computed."""
    rows = []
    for name, builder in MODELS.items():
        with torch.device("meta"):
            network: Network = MODELS.build(name, classes, size)
        made = summary(network, size)
        about = (inspect.getdoc(builder) or "").partition("\n")[0]
        options = ", ".join(f"{key}={value!r}" for key, value in MODELS.options(name).items())
        rows.append(ModelRow(name, about, made.parameters, 2 * made.multiply_adds / 1e9, options))
    return rows
