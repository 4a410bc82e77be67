"""The compiled arithmetic: `compiled/`, which the installation builds where it finds a C compiler.

Without it, or on a processor that it does not serve, torch computes everything. SHOEBOX_ARITHMETIC=torch in the
environment leaves it out.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

MOST_THREADS = 64
VERSION = 7
"""Of the compiled functions: those of another are not called."""


@functools.cache
def library() -> Any:
    """The compiled functions with their argument types, or None where they are not to be had."""
    if os.environ.get("SHOEBOX_ARITHMETIC") == "torch":
        return None
    here = Path(__file__).parent
    for path in (here / f"_arithmetic{suffix}" for suffix in EXTENSION_SUFFIXES):
        if path.is_file():
            try:
                found = ctypes.CDLL(str(path))
                if found.arithmetic_version() != VERSION:
                    return None
            except (OSError, AttributeError):  # built for another machine, or from older sources
                return None
            pointer, number, long = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
            found.winograd_scratch.argtypes = [number] * 7
            found.winograd_scratch.restype = long
            found.winograd_forward.argtypes = [*[pointer] * 6, long, *[number] * 7, pointer]
            found.winograd_filters.argtypes = [*[pointer] * 4, long, *[number] * 6, pointer]
            found.norm_forward.argtypes = [*[pointer] * 7, long, long, number, ctypes.c_double, number, number, pointer]
            found.norm_activate.argtypes = [*[pointer] * 6, long, long, *[number] * 3]
            found.norm_backward.argtypes = [*[pointer] * 9, long, long, number, number, number, pointer]
            found.cut_windows.argtypes = [*[pointer] * 4, long, *[number] * 3]
            return found if found.arithmetic_lanes(False) else None
    return None


def serves(x: Tensor) -> bool:
    """Whether the compiled functions may compute with this: float32 or, where they compute in 16 bits, bfloat16; and no
    autocast, which would compute in another type."""
    return (
        reaches(x)
        and (x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and lanes(halves=True) > 0))
        and not torch.is_autocast_enabled("cpu")
    )


def reaches(x: Tensor) -> bool:
    """Whether the compiled functions may be given where this lies: a plain tensor on a CPU, nothing that is traced or
    counted."""
    return (
        x.device.type == "cpu"
        and type(x) is Tensor
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and not is_in_torch_dispatch_mode()
        and library() is not None
    )


def lanes(halves: bool = False) -> int:
    """Sums in a vector of this processor: floats, or where it multiplies 16 bits 32 of float16 or 16 floats;
    0 where it does not compute so."""
    return int(library().arithmetic_lanes(halves)) if library() is not None else 0


def half_type() -> Literal["fp16", "bf16"] | None:
    """The type that numbers of 16 bits are multiplied in here; None where they are not."""
    types: dict[int, Literal["fp16", "bf16"]] = {32: "fp16", 16: "bf16"}
    return types.get(lanes(halves=True))


def threads() -> int:
    """How many the compiled functions are to use: torch's number."""
    return min(torch.get_num_threads(), MOST_THREADS)


def address(tensor: Tensor | None) -> int | None:
    """Where a tensor's numbers lie; None (a null pointer) for None."""
    return None if tensor is None else tensor.data_ptr()


_kept = threading.local()


def scratch(size: int) -> Tensor:
    """Room for `size` floats until the next call.

    Each thread keeps its own, since fresh memory has to be cleared and is in no cache.
    """
    if not hasattr(_kept, "scratch") or len(_kept.scratch) < size:
        _kept.scratch = torch.empty(size)
    room: Tensor = _kept.scratch
    return room
