"""The facts of a run that its model card tells: the split, where it errs, and how to repeat it.

In: the classifier, its pack, its evaluations. Out: plain JSON values for `Classifier.card`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from shoebox.base.version import VERSION
from shoebox.data.pack import Pack, Stream
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.slices import slices

WEAKEST = 5
LIBRARIES = ("torch", "torchvision", "timm", "numpy", "pillow")


def split_facts(packed: Pack | Stream) -> dict[str, Any]:
    """How many pictures each part and each class in it has, and how many files could not be read."""
    index = packed.index
    parts = {}
    for part in ("train", "val", "test"):
        counts = np.bincount(index.labels[(index.part == part) & (index.labels >= 0)], minlength=len(index.classes))
        if counts.sum():
            parts[part] = {
                "pictures": int(counts.sum()),
                "classes": dict(zip(index.classes, counts.tolist(), strict=True)),
            }
    return {"source": index.root.name, "parts": parts, "skipped": len(packed.skipped) + len(index.skipped)}


def error_facts(evaluation: Evaluation, packed: Pack | Stream) -> dict[str, Any]:
    """Where a classifier errs on a part: weakest classes, confusions, significantly worse slices."""
    report = evaluation.report().iloc[:-3]
    weakest = report[report["support"] > 0].sort_values("recall", kind="stable")[:WEAKEST]
    confusion = evaluation.confusion()
    np.fill_diagonal(confusion, 0)
    pairs = [divmod(int(cell), len(confusion)) for cell in np.argsort(-confusion, axis=None, kind="stable")[:WEAKEST]]
    found = slices(evaluation, packed)
    return {
        "part": evaluation.part,
        "weakest": [
            {"class": str(name), **row} for name, row in zip(weakest.index, weakest.to_dict("records"), strict=True)
        ],
        "confusions": [
            {"true": evaluation.classes[a], "predicted": evaluation.classes[b], "pictures": int(confusion[a, b])}
            for a, b in pairs
            if confusion[a, b]
        ],
        "slices": len(found),
        "worse": [asdict(one) for one in found if one.worse],
    }


def environment() -> dict[str, str]:
    """The versions and the machine that a run was made with."""
    versions = {library: importlib.metadata.version(library) for library in LIBRARIES}
    return {"python": platform.python_version(), "system": platform.platform(), **versions}


def receipt(recipe: Mapping[str, Any], fingerprint: str) -> dict[str, Any]:
    """What lets someone repeat a run: the data's fingerprint, the code's version and digest, the seed."""
    return {"data": fingerprint, "shoebox": VERSION, "code": code_digest(), "seed": recipe.get("seed")}


def code_digest() -> str:
    """16 hex digits of Shoebox's own source files: two runs of the same digest were made by the same code."""
    root = Path(__file__).parent.parent
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(root.rglob("*")):
        if path.suffix in (".py", ".yaml"):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
