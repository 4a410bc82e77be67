"""What follows training: the temperature, the evaluations of validation and test, and what the card says of them.

In: a trained classifier and its pack. Out: an Evaluation a part, saved in the run's folder; the classifier with its
temperature and its card filled in.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shoebox.base.progress import QUIET, Progress
from shoebox.classifier import Classifier
from shoebox.data.pack import Pack, Stream
from shoebox.evaluation.calibration import before_and_after, fit_temperature, with_temperature
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.intervals import intervals
from shoebox.training.facts import environment, error_facts, receipt, split_facts


def score_parts(
    classifier: Classifier, packed: Pack | Stream, folder: Path, *, progress: Progress = QUIET
) -> dict[str, Evaluation]:
    """Calibrate the classifier on the validation part, then score validation and test.

    The temperature is fitted on validation alone, so that what is said of the test part stays an honest forecast.

    Args:
        classifier: just trained; its temperature is set, and its card filled in: val, test, figures, calibration,
            split, errors, environment, receipt.
        packed: with the parts in its index.
        folder: where `val.npz` and `test.npz` go.

    Returns:
        by part, those that have labelled pictures; logits after the temperature.
    """
    scored: dict[str, Evaluation] = {}
    classifier.pipeline.temperature.fill_(1.0)
    temperature, fitted = 1.0, 0
    for part in ("val", "test"):
        rows = np.flatnonzero((packed.index.part == part) & (packed.index.labels >= 0))
        if not len(rows):
            continue
        evaluation = classifier.score(packed, rows, part, progress=progress)
        if part == "val":
            temperature, fitted = fit_temperature(evaluation.labels, evaluation.logits), len(rows)
            classifier.pipeline.temperature.fill_(temperature)
            evaluation = with_temperature(evaluation, temperature)
        evaluation.save(folder / f"{part}.npz")
        scored[part] = evaluation
        classifier.card[part] = evaluation.metrics()
    classifier.card["figures"] = {part: intervals(evaluation) for part, evaluation in scored.items()}
    classifier.card["calibration"] = {
        "temperature": temperature,
        "pictures": fitted,
        **{part: before_and_after(evaluation, temperature) for part, evaluation in scored.items()},
    }
    classifier.card["split"] = split_facts(packed)
    if scored:
        classifier.card["errors"] = error_facts(scored.get("test") or scored["val"], packed)
    classifier.card["environment"] = environment()
    classifier.card["receipt"] = receipt(classifier.card["recipe"], classifier.card["data"])
    return scored
