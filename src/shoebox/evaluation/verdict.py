"""What an evaluation means for the person who has to use the classifier, in plain words, and what would help.

In: an Evaluation, its intervals, the history of the training, how many pictures each class was learnt from. Out: a
`Verdict` of sentences. Every sentence rests on a figure that it quotes; where there is nothing to say, nothing is said.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shoebox.evaluation.confusions import Confusion, confusions
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.intervals import Interval
from shoebox.evaluation.reliability import reliability
from shoebox.evaluation.robustness import Robustness
from shoebox.evaluation.selective import selective
from shoebox.evaluation.slices import Slice
from shoebox.evaluation.text import visible

if TYPE_CHECKING:
    import pandas as pd

SURE = 0.95  # from this confidence on, a mistake is worth a look at the label
GAP = 0.08  # accuracy on training pictures above that on new ones which says that more pictures would help
FEW = 0.5  # of the median class's training pictures: a class with fewer is called small
OFF = 0.03  # calibration error from which confidence is called off
WIDE = 0.06  # width of the accuracy's interval from which more test pictures are asked for
MODERATE, DROP = 3, 0.1  # severity of a corruption that is told of; accuracy lost from which it is worth training for
CORRUPTED = {
    "noise": "noisy",
    "blur": "blurred",
    "brighter": "too bright",
    "darker": "too dark",
    "jpeg": "strongly compressed",
    "rotation": "tilted",
    "crop": "cropped",
}
PART_NAMES = {"test": "test", "val": "validation", "train": "training"}


@dataclass(frozen=True)
class Advice:
    """One thing that would help: what to do, and the figures that say so."""

    do: str
    why: str


@dataclass(frozen=True)
class Verdict:
    """What to tell.

    Attributes:
        headline: how good it is, one sentence.
        sentences: what that means, where it errs, what its confidence is worth.
        advice: what would help, the most promising first.
    """

    headline: str
    sentences: tuple[str, ...]
    advice: tuple[Advice, ...]


def verdict(
    evaluation: Evaluation,
    intervals: Mapping[str, Interval],
    history: "pd.DataFrame | None" = None,
    learnt_from: Sequence[int] | None = None,
    slices: Sequence[Slice] = (),
    robustness: Sequence[Robustness] = (),
) -> Verdict:
    """Put an evaluation into words.

    Args:
        intervals: with "accuracy", as from `shoebox.evaluation.intervals`.
        history: a row an epoch, columns train_accuracy and val_accuracy, if the training is known.
        learnt_from: (K,) training pictures of each class, if known.
        slices: as from `shoebox.evaluation.slices`; those that are significantly worse are told of.
        robustness: as from `shoebox.evaluation.robustness`, "none" first.
    """
    known = int(evaluation.labelled.sum())
    part = PART_NAMES.get(evaluation.part, "")
    kind = f"{part} pictures" if part else "pictures"
    accuracy = intervals["accuracy"]
    if not known or not np.isfinite(accuracy.value):
        return Verdict(f"None of these {kind} could be held against a label, so nothing can be said of it.", (), ())
    seen = "it learnt from" if evaluation.part == "train" else "it had not learnt from"
    headline = (
        f"It is right on {shown(accuracy.value)} of {known:,} {kind} that {seen} "
        f"(95\N{NO-BREAK SPACE}% interval {shown(accuracy.low)} to {shown(accuracy.high)})."
    )
    mistakes = confusions(evaluation, 3)
    said = (
        *_usefulness(evaluation),
        *_errors(evaluation, mistakes),
        *_confidence(evaluation),
        *_slices(slices),
        *_weakness(robustness),
    )
    advice = (
        *_from_history(history),
        *_from_classes(evaluation, learnt_from),
        *_from_mistakes(evaluation, mistakes),
        *_from_weakness(robustness),
        *_from_size(known, accuracy, kind),
    )
    return Verdict(headline, tuple(said), tuple(advice))


def shown(share: float) -> str:
    """A share in percent, number and sign on one line: one decimal, two near the ends, where one would round to all or
    nothing."""
    decimals = 0 if share in (0, 1) else 2 if 0 < share < 0.01 or 0.99 < share < 1 else 1
    return f"{100 * share:.{decimals}f}\N{NO-BREAK SPACE}%"


def plainly(share: float) -> str:
    """A share that a person chose, such as 5 %: no more digits than it has."""
    return f"{100 * share:g}\N{NO-BREAK SPACE}%"


def _usefulness(evaluation: Evaluation) -> Iterator[str]:
    labels = evaluation.labels[evaluation.labelled]
    support = np.bincount(labels, minlength=len(evaluation.classes))
    share = support.max() / len(labels)
    common = visible(evaluation.classes[int(support.argmax())])
    say = f"“{common}”" if support.max() > support.min() else "the same class"
    right = float(np.mean(labels == evaluation.predictions[evaluation.labelled]))
    verb = "would be right on" if right > share else "would do as well or better, with"
    yield f"Always answering {say} {verb} {shown(float(share))}."


def _errors(evaluation: Evaluation, mistakes: Sequence[Confusion]) -> Iterator[str]:
    support = np.bincount(evaluation.labels[evaluation.labelled], minlength=len(evaluation.classes))
    present = np.flatnonzero(support)
    found = evaluation.confusion().diagonal()[present] / support[present]
    if len(present) > 1 and np.ptp(found) > 0:
        best, worst = present[found.argmax()], present[found.argmin()]
        yield (
            f"It finds “{visible(evaluation.classes[best])}” best ({shown(float(found.max()))} of them) and "
            f"“{visible(evaluation.classes[worst])}” worst ({shown(float(found.min()))})."
        )
    if mistakes:
        top, total = mistakes[0], len(evaluation.wrong())
        true, taken = visible(evaluation.classes[top.true]), visible(evaluation.classes[top.predicted])
        times = f"{len(top.rows):,} of its {total:,} mistakes" if total > 1 else "its only mistake"
        yield f"Most often it takes “{true}” for “{taken}”: {times}, {shown(top.share)} of that class."


def _confidence(evaluation: Evaluation) -> Iterator[str]:
    known = evaluation.labelled
    confidences = evaluation.confidences[known]
    right = (evaluation.predictions == evaluation.labels)[known]
    off = reliability(confidences, right).error
    if off < OFF:
        yield (f"Its confidence can be taken at its word: it lies {shown(off)} from how often it is right, on average.")
    else:
        lean = "too sure of itself" if confidences.mean() > right.mean() else "more often right than it says"
        yield f"It is {lean}: confidence and accuracy lie {shown(off)} apart, on average."
    wrong = 1 - float(right.mean())
    target = next((risk for risk in (0.05, 0.01) if wrong > 1.5 * risk), None)
    curve = selective(evaluation)
    if target and (answered := curve.coverage_at(target)) >= 0.1:
        times = {0.05: "one in twenty", 0.01: "one in a hundred"}[target]
        yield (
            f"If it answers only what it is at least {shown(curve.threshold_at(target))} sure of and leaves the rest "
            f"to a person, it answers {shown(answered)} of the pictures, and {times} of those answers is wrong."
        )


def _slices(slices: Sequence[Slice]) -> Iterator[str]:
    for one in [s for s in slices if s.worse][:2]:
        yield (
            f"It does worse on some kinds of pictures ({one.kind}: {visible(one.name)}): right on "
            f"{shown(one.accuracy)} of these {one.pictures:,}, on {shown(one.rest)} of the others."
        )


def _weakness(robustness: Sequence[Robustness]) -> Iterator[str]:
    if worst := _weakest(robustness):
        yield (
            f"It minds {CORRUPTED[worst.corruption]} pictures most: right on {shown(worst.accuracy)} where they are "
            f"moderately so, on {shown(robustness[0].accuracy)} of the same pictures as they are."
        )


def _weakest(robustness: Sequence[Robustness]) -> Robustness | None:
    """The lowest accuracy under a corruption of moderate severity, if it is certainly lower than without."""
    moderate = [one for one in robustness if one.corruption in CORRUPTED and one.severity == MODERATE]
    worst = min(moderate, key=lambda one: one.accuracy, default=None)
    return worst if worst and worst.high < robustness[0].low else None


def _from_history(history: "pd.DataFrame | None") -> Iterator[Advice]:
    if history is None or not {"train_accuracy", "val_accuracy"} <= set(history.columns):
        return
    table = history[["train_accuracy", "val_accuracy"]].astype(float)
    measured = np.flatnonzero(table.notna().all(axis=1))
    if len(measured) < 2:
        return
    train, val = (table[name].to_numpy()[measured] for name in table.columns)
    best = int(val.argmax())
    late = max(1, len(val) // 5)
    gained = float(val[-late:].max() - val[:-late].max())
    if gained > 0.004 and best >= len(val) - late:
        since = int(measured[-1] - measured[-late - 1])
        epochs = "epoch" if since == 1 else f"{since} epochs"
        yield Advice(
            "Train for longer.",
            f"In the last {epochs} of {len(table)} the validation accuracy still rose by {shown(gained)}.",
        )
    gap = float(train[best] - val[best])
    if gap > GAP:
        yield Advice(
            "Show it more pictures, or vary those it has (stronger augmentation).",
            f"It is right on {shown(float(train[best]))} of the pictures it learnt from, but on "
            f"{shown(float(val[best]))} of the validation pictures: it remembers more than it understands.",
        )
    elif train[best] < 0.9 and gap < GAP / 2:
        yield Advice(
            "Give it a larger or pretrained network, or larger pictures.",
            f"Even of the pictures it learnt from, it has only {shown(float(train[best]))} right.",
        )


def _from_classes(evaluation: Evaluation, learnt_from: Sequence[int] | None) -> Iterator[Advice]:
    if learnt_from is None or not any(learnt_from):
        return
    counts = np.asarray(learnt_from)
    support = np.bincount(evaluation.labels[evaluation.labelled], minlength=len(counts))
    found = evaluation.confusion().diagonal() / np.maximum(support, 1)
    median = float(np.median(counts[counts > 0]))
    weak = np.flatnonzero((support > 0) & (counts < FEW * median) & (found < np.mean(found[support > 0])))
    for k in weak[np.argsort(found[weak], kind="stable")][:2].tolist():
        yield Advice(
            f"Collect more pictures of “{visible(evaluation.classes[k])}”.",
            f"It learnt from {counts[k]:,} of them, half of the classes have {median:,.0f} or more, and it finds only "
            f"{shown(float(found[k]))} of them.",
        )


def _from_mistakes(evaluation: Evaluation, mistakes: Sequence[Confusion]) -> Iterator[Advice]:
    wrong = evaluation.wrong()
    if mistakes and len(wrong) >= 10:
        one, two = mistakes[0].true, mistakes[0].predicted
        labels, predictions = evaluation.labels[wrong], evaluation.predictions[wrong]
        both = int((((labels == one) & (predictions == two)) | ((labels == two) & (predictions == one))).sum())
        if both >= 0.08 * len(wrong):
            names = f"“{visible(evaluation.classes[one])}” and “{visible(evaluation.classes[two])}”"
            yield Advice(
                f"Add pictures that show the difference between {names}.",
                f"Taking one for the other makes up {shown(both / len(wrong))} of all mistakes.",
            )
    sure = int((evaluation.confidences[wrong] >= SURE).sum())
    if sure:
        pictures = "picture" if sure == 1 else "pictures"
        yield Advice(
            f"Check the labels of {sure:,} {pictures}.",
            f"It was at least {plainly(SURE)} sure and yet counted as wrong there; some labels may be at fault. They "
            "come first among the mistakes below.",
        )


def _from_weakness(robustness: Sequence[Robustness]) -> Iterator[Advice]:
    worst = _weakest(robustness)
    drop = robustness[0].accuracy - worst.accuracy if worst else 0.0
    if worst and drop > DROP:
        word = CORRUPTED[worst.corruption]
        yield Advice(
            f"If you will meet {word} pictures, train on such.",
            f"Where they are moderately so, the accuracy falls by {100 * drop:.0f} points.",
        )


def _from_size(known: int, accuracy: Interval, kind: str) -> Iterator[Advice]:
    width = accuracy.high - accuracy.low
    if width > WIDE:
        yield Advice(
            "Measure on more pictures.",
            f"With {known:,} {kind} the accuracy is known only to within {shown(width)}; four times as many would "
            "halve that.",
        )
