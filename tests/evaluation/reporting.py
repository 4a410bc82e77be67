"""A report built from arrays: no network was trained and no picture opened for it."""

import numpy as np
import pandas as pd

from shoebox.evaluation.embedding import make_map
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.gallery import Gallery, Neighbour
from shoebox.evaluation.intervals import intervals
from shoebox.evaluation.listing import TILES
from shoebox.evaluation.report import Report
from shoebox.evaluation.slices import slices
from shoebox.evaluation.thumbnails import thumbnails
from shoebox.evaluation.trust import trust
from shoebox.evaluation.verdict import verdict
from shoebox.models.summary import LayerRow, Summary

HOSTILE = "<script>alert(1)</script>"
CLASSES = (HOSTILE, "dog", "</script><img src=x onerror=alert(2)>")


def scored(classes=CLASSES, count=60, part="test", seed=0):
    """Every fifth picture is taken for the next class."""
    random = np.random.default_rng(seed)
    k = len(classes)
    labels = np.arange(count) % k
    answers = np.where(np.arange(count) % 5 == 0, (labels + 1) % k, labels)
    logits = (4 * np.eye(k)[answers] + random.normal(size=(count, k))).astype(np.float32)
    features = (5 * np.eye(k)[answers] + random.normal(size=(count, k))).astype(np.float16)
    paths = tuple(f"{classes[label]}/{number}.png" for number, label in enumerate(labels))
    return Evaluation(paths, labels.astype(np.int64), logits, tuple(classes), features, part)


def history(epochs=4):
    table = {"epoch": range(1, epochs + 1), "lr": [0.1] * epochs, "seconds": [1.0] * epochs}
    for part in ("train", "val"):
        table |= {f"{part}_{name}": np.linspace(0.4, 0.8, epochs) for name in ("accuracy", "loss", "macro_f1")}
    return pd.DataFrame(table)


def made(evaluation=None, **changes):
    """A report of every row of an evaluation, with a heat map and a neighbour for some."""
    evaluation = scored() if evaluation is None else evaluation
    rows = np.arange(len(evaluation))
    pictures = np.random.default_rng(1).integers(0, 256, (max(len(rows), 1), 16, 16, 3), dtype=np.uint8)
    heat = np.arange(16, dtype=np.uint8).reshape(4, 4) * 17
    few = min(len(rows), 5)
    small = thumbnails(lambda some: pictures[some], rows, 10**6)
    gallery = Gallery(
        rows=rows,
        thumbnails=small,
        heats=dict.fromkeys(range(few), (heat,)),
        near=np.zeros((len(rows), 1), np.int64),
        likeness=np.full((len(rows), 1), 0.5, np.float32),
        training=[Neighbour("train/0.png", 0, small[0])] if few else [],
    )
    measured = intervals(evaluation, tuple(TILES), resamples=50)
    kinds = tuple(slices(evaluation))
    learnt_from = tuple(range(10, 10 + len(evaluation.classes)))
    values = {
        "title": f"Report of {HOSTILE}",
        "subtitle": "simple · 3 classes",
        "evaluation": evaluation,
        "intervals": measured,
        "verdict": verdict(evaluation, measured, history(), learnt_from, kinds),
        "gallery": gallery,
        "map": make_map(evaluation) if len(rows) else None,
        "history": history(),
        "learnt_from": learnt_from,
        "slices": kinds,
        "trust": trust(evaluation, None, 1.0),
        "robustness": (),
        "strangers": None,
        "network": Summary((LayerRow("head", "Linear", (3,), 30, 27),), 30, 30, 27),
        "facts": (("Pictures", f"/data/{HOSTILE}"),),
        "recipe": f"name: '{HOSTILE}'\n",
        "notes": (f"note {HOSTILE}",),
        "made": "1 January 2026, 00:00",
        "version": "0",
    }
    return Report(**(values | changes))
