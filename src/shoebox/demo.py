"""The demonstration: the main job on scikit-learn's 1,797 real handwritten digits, which need no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shoebox.base.progress import QUIET, Progress
from shoebox.data.sources import open_source
from shoebox.evaluation.results import evenly
from shoebox.training.train import train


def demo(run: Path | None = None, *, device: str = "auto", progress: Progress = QUIET) -> dict[str, Any]:
    """Train on the digits, score on the test part, predict a few pictures of it.

    Returns:
        what `train` gives, with `results` (the folder of figures) and `predictions` (path, true, label, confidence).
    """
    done = train(open_source("digits", progress=progress), "demo", run=run, device=device, progress=progress)
    assert done.evaluation is not None
    index = open_source("digits")
    rows = evenly(done.evaluation.labels, 5)
    files = [index.root / done.evaluation.paths[row] for row in rows]
    table = done.classifier.predict(files, top=1)
    progress.say("\nfive pictures of the test part, which it never saw in training:")
    predictions = []
    for row, label in zip(table.to_dict("records"), done.evaluation.labels[rows].tolist(), strict=True):
        true = done.classifier.classes[label]
        progress.say(f"  {Path(row['path']).name}: a {row['label']} ({row['confidence']:.0%} sure); it is a {true}")
        predictions.append({"true": true, **row})
    return {**done.result, "results": str(done.folder / "results"), "predictions": predictions}
