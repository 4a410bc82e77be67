"""Answers: probabilities as rows that people and programs read. The one form of a prediction, whoever computed it.

In: probabilities (N, K) and the names of the classes. Out: dicts with label, confidence, label_2, confidence_2, ….
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import UsageError


def ranks(count: int, top: int) -> int:
    """How many classes an answer names: `top`, or all `count` if there are fewer.

    Raises:
        UsageError: `top` is below 1.
    """
    if top < 1:
        raise UsageError(f"top={top}: expected 1 or more")
    return min(top, count)


def columns(count: int, top: int) -> list[str]:
    """The names of an answer's columns: path, label, confidence, label_2, confidence_2, …, status."""
    extra = [name for rank in range(2, ranks(count, top) + 1) for name in (f"label_{rank}", f"confidence_{rank}")]
    return ["path", "label", "confidence", *extra, "status"]


def numbers(names: Sequence[str]) -> list[str]:
    """Those of the columns that hold numbers."""
    return [name for name in names if name.startswith("confidence")]


def answer(path: str, probabilities: NDArray[np.floating], classes: Sequence[str], top: int) -> dict[str, Any]:
    """One picture's row: its most probable classes, the first of equals first.

    Args:
        probabilities: (K,) 0 to 1.
    """
    row: dict[str, Any] = {"path": path, "status": "ok"}
    for rank, index in enumerate(np.argsort(-probabilities, kind="stable")[: ranks(len(classes), top)].tolist(), 1):
        suffix = f"_{rank}" if rank > 1 else ""
        row[f"label{suffix}"], row[f"confidence{suffix}"] = classes[index], float(probabilities[index])
    return row
