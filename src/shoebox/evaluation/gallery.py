"""The gallery of a report: pictures with their thumbnails, heat maps and neighbours, as data for the page.

In: an Evaluation and what was gathered for some of its rows. Out: plain JSON values that `templates/page.js` reads.
"""

import base64
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoebox.base.tables import speakable
from shoebox.evaluation import style
from shoebox.evaluation.embedding import Map
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.text import visible

HEAT_SIDE = 12  # places a side that a heat map is kept with: a network's own have 4 to 14
TOP = 5  # classes whose probabilities are shown


@dataclass(frozen=True, eq=False)
class Neighbour:
    """A picture that was learnt from.

    Attributes:
        path, label: as in its index.
        thumbnail: a WebP file.
    """

    path: str
    label: int
    thumbnail: bytes


@dataclass(frozen=True, eq=False)
class Gallery:
    """Some rows of an evaluation, with what is to be seen of them.

    Attributes:
        rows: (n,) int64 of the evaluation.
        thumbnails: n WebP files.
        heats: by place among the rows, the heat map of the predicted class and, of a mistake, that of the true one,
            each (side, side) uint8; places without one are missing.
        near: (n, k) places in `training`, the most alike first; and the likeness, -1…1.
        likeness: (n, k) float32.
        training: the pictures that `near` points to.
    """

    rows: NDArray[np.int64]
    thumbnails: list[bytes]
    heats: dict[int, tuple[NDArray[np.uint8], ...]] = field(default_factory=dict)
    near: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 0), np.int64))
    likeness: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    training: list[Neighbour] = field(default_factory=list)


def coarse(heats: NDArray[np.float32], side: int = HEAT_SIDE) -> NDArray[np.uint8]:
    """Heat maps (N, S, S) of 0…1 as (N, side, side) uint8, each place the mean of what it covers."""
    if heats.shape[1] < side:
        return np.asarray(255 * heats, dtype=np.uint8)
    edges = np.linspace(0, heats.shape[1], side + 1).astype(np.int64)
    sums = np.add.reduceat(np.add.reduceat(heats, edges[:-1], axis=1), edges[:-1], axis=2)
    areas = np.diff(edges)[:, None] * np.diff(edges)
    means = sums / areas
    peaks = means.max(axis=(1, 2), keepdims=True)
    return np.asarray(255 * means / np.where(peaks > 0, peaks, 1), dtype=np.uint8)


def page_data(evaluation: Evaluation, gallery: Gallery, shown: Map | None) -> dict[str, Any]:
    """What the page's script works on, as plain JSON values; every name can be shown and written."""
    names = [name_of(name) for name in evaluation.classes]
    span = np.ptp(shown.places, axis=0) if shown is not None and len(shown.places) else np.ones(2)
    return {
        "classes": names,
        "colours": [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in style.CLASSES],
        "extent": [round(float(length), 4) for length in span],
        "noHeat": "This picture has no heat map: they were made for as many as there was time for, mistakes first."
        if gallery.heats
        else "There are no heat maps.",
        "pictures": [_picture(evaluation, gallery, place, shown) for place in range(len(gallery.rows))],
        "training": [
            {"path": speakable(one.path), "label": one.label, "thumb": _text(one.thumbnail)} for one in gallery.training
        ],
    }


def name_of(name: str) -> str:
    """The name of a class as the page shows it."""
    return visible(name).strip() or "(no name)"


def _picture(evaluation: Evaluation, gallery: Gallery, place: int, shown: Map | None) -> dict[str, Any]:
    row = int(gallery.rows[place])
    probabilities = evaluation.probabilities[row]
    top = np.argsort(-probabilities, kind="stable")[:TOP].tolist()
    label = int(evaluation.labels[row])
    if label >= 0 and label not in top:
        top.append(label)
    heats = [_text(heat.tobytes()) for heat in gallery.heats.get(place, ())]
    near = zip(gallery.near[place].tolist(), gallery.likeness[place].tolist(), strict=True) if gallery.near.size else ()
    made: dict[str, Any] = {
        "path": speakable(evaluation.paths[row]),
        "label": label,
        "predicted": int(evaluation.predictions[row]),
        "confidence": round(float(evaluation.confidences[row]), 5),
        "top": [[k, round(float(probabilities[k]), 5)] for k in top],
        "thumb": _text(gallery.thumbnails[place]),
        "heat": heats,
        "near": [[i, round(alike, 3)] for i, alike in near],
    }
    if shown is not None:
        made |= {"x": round(float(shown.places[place, 0]), 4), "y": round(float(shown.places[place, 1]), 4)}
    return made


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
