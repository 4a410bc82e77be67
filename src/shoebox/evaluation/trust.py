"""What can be relied on: promises chosen on validation pictures, held against other pictures.

In: an Evaluation, the one of the validation part, the temperature in use. Out: a `Trust`: calibration before and after
the temperature, mistakes when unsure answers are left out, sets of classes that hold the right one.
"""

from dataclasses import dataclass, replace

import numpy as np

from shoebox.evaluation.calibration import before_and_after
from shoebox.evaluation.conformal import calibrate
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.promise import promise

MISTAKES = (0.01, 0.02, 0.05)
"""Shares of wrong answers that a promise is sought for."""
MISSED = (0.01, 0.05, 0.1)
"""Shares of sets that may lack the right class."""


@dataclass(frozen=True)
class Kept:
    """A promise of `shoebox.evaluation.promise`, held against pictures it was not chosen on.

    Attributes:
        error: the share of mistakes among the answers that was promised not to be exceeded.
        threshold: the least confidence of an answer; above 1 where nothing could be promised.
        answered: the share of the pictures that was answered.
        wrong: the share of those answers that was wrong; nan where there were none.
    """

    error: float
    threshold: float
    answered: float
    wrong: float


@dataclass(frozen=True)
class Sets:
    """Conformal sets (THR) of `shoebox.evaluation.conformal`, held against pictures they were not calibrated on.

    Attributes:
        error: the share of sets that may lack the right class.
        held: the share that has it.
        size: the mean number of classes in a set.
        single, empty: the share of sets of one class, and of none.
    """

    error: float
    held: float
    size: float
    single: float
    empty: float


@dataclass(frozen=True)
class Trust:
    """What can be relied on.

    Attributes:
        chosen_on: how many pictures the thresholds were chosen on.
        halves: whether those were one half of the pictures measured, for the other half, and the other way round.
        temperature: by which the logits are divided.
        before, after: the calibration error without and with it, 0…1; nan without labels.
        kept: promises about answers.
        sets: promises about sets.
    """

    chosen_on: int
    halves: bool
    temperature: float
    before: float
    after: float
    kept: tuple[Kept, ...]
    sets: tuple[Sets, ...]


def trust(evaluation: Evaluation, validation: Evaluation | None, temperature: float) -> Trust | None:
    """Hold promises against pictures.

    Args:
        evaluation: the pictures to hold them against; the unlabelled are left out.
        validation: what the thresholds are chosen on. Without it, or where it is the evaluation itself, each half of
            the pictures (drawn by chance) answers to thresholds chosen on the other half.
        temperature: that the logits of `evaluation` were divided by.

    Returns:
        None where fewer than two pictures have a label.
    """
    known = taken(evaluation, np.flatnonzero(evaluation.labelled))
    if len(known) < 2:
        return None
    own = validation is None or validation.part == evaluation.part
    if validation is None or own:
        order = np.random.default_rng(0).permutation(len(known))
        one, two = (taken(known, np.sort(rows)) for rows in np.array_split(order, 2))
        pairs = [(one, two), (two, one)]
    else:
        pairs = [(taken(validation, np.flatnonzero(validation.labelled)), known)]
    calibration = before_and_after(known, temperature)
    return Trust(
        chosen_on=min(len(chosen) for chosen, _ in pairs),
        halves=own,
        temperature=temperature,
        before=calibration["before"]["ece"],
        after=calibration["after"]["ece"],
        kept=tuple(_kept(pairs, error) for error in MISTAKES),
        sets=tuple(_sets(pairs, error) for error in MISSED),
    )


def taken(evaluation: Evaluation, rows: np.ndarray) -> Evaluation:
    """Some rows of an evaluation."""
    features = evaluation.features
    return replace(
        evaluation,
        paths=tuple(evaluation.paths[row] for row in rows.tolist()),
        labels=evaluation.labels[rows],
        logits=evaluation.logits[rows],
        features=None if features is None else features[rows],
    )


def _kept(pairs: list[tuple[Evaluation, Evaluation]], error: float) -> Kept:
    answered = wrong = total = 0
    thresholds = []
    for chosen, measured in pairs:
        thresholds.append(promise(chosen, error).threshold)
        sure = measured.confidences >= thresholds[-1]
        answered += int(sure.sum())
        wrong += int((sure & (measured.predictions != measured.labels)).sum())
        total += len(measured)
    return Kept(error, float(np.mean(thresholds)), answered / total, wrong / answered if answered else float("nan"))


def _sets(pairs: list[tuple[Evaluation, Evaluation]], error: float) -> Sets:
    held, sizes = [], []
    for chosen, measured in pairs:
        sets = calibrate(chosen, error).sets(measured.probabilities)
        held.append(sets[np.arange(len(measured)), measured.labels])
        sizes.append(sets.sum(axis=1))
    every = np.concatenate(sizes)
    return Sets(
        error,
        held=float(np.concatenate(held).mean()),
        size=float(every.mean()),
        single=float(np.mean(every == 1)),
        empty=float(np.mean(every == 0)),
    )
