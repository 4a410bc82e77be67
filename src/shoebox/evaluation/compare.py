"""Classifiers side by side on the same pictures: who is better, by how much, and whether that is more than chance.

In: an Evaluation each, of the same pictures. Out: a `Comparison`: every figure with its interval, every pair with the
interval of its differences (the same resamples for both, so that what is hard for both cancels out), McNemar's exact
test, and the pictures that became right or wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoebox.base.errors import UsageError
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.intervals import RESAMPLES, Interval, ends, intervals, resampled
from shoebox.evaluation.metrics import measure
from shoebox.evaluation.significance import SIGNIFICANT, holm, mcnemar

COMPARED = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss", "ece")


@dataclass(frozen=True)
class Pair:
    """One classifier held against another.

    Attributes:
        name, against: their names.
        differences: by metric, the value of `name` minus that of `against`, with its 95 % interval.
        p: McNemar's exact test on who is right, adjusted by Holm for the number of pairs.
        newly_right: paths that `name` has right and `against` has wrong, those it is surest of first.
        newly_wrong: paths that `name` has wrong and `against` has right, those it is surest of first.
    """

    name: str
    against: str
    differences: dict[str, Interval]
    p: float
    newly_right: tuple[str, ...]
    newly_wrong: tuple[str, ...]

    @property
    def significant(self) -> bool:
        """Whether chance would show such a difference less than once in twenty times."""
        return self.p < SIGNIFICANT

    @property
    def verdict(self) -> str:
        """One sentence: which is better and by how much, or that there is no significant difference."""
        value, low, high = (100 * end for end in self.differences["accuracy"])
        figures = f"accuracy {value:+.2f} points (95 % interval {low:+.2f} to {high:+.2f}), McNemar p = {shown(self.p)}"
        if not self.significant:
            return f"no significant difference between {self.against} and {self.name}: {figures}"
        return f"{self.name} is {'better' if value > 0 else 'worse'} than {self.against}: {figures}"


@dataclass(frozen=True)
class Comparison:
    """Two or more classifiers on the same pictures.

    Attributes:
        part: the part they were scored on.
        pictures: how many all of them were scored on.
        figures: by name, by metric, the value with its 95 % interval.
        pairs: each against the first, or each against the one before it.
        costs: by name, what it takes (seconds of training, megabytes, …).
    """

    part: str
    pictures: int
    figures: dict[str, dict[str, Interval]]
    pairs: tuple[Pair, ...]
    costs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def rows(self) -> list[dict[str, str]]:
        """The table for people: a row a figure, then a row a cost; a column a classifier."""
        measured = next(iter(self.figures.values()))
        rows = [
            {"figure": metric, **{name: f"{i.value:.4f} ({i.low:.4f} to {i.high:.4f})" for name, i in column.items()}}
            for metric in measured
            for column in [{name: figures[metric] for name, figures in self.figures.items()}]
        ]
        kinds = dict.fromkeys(kind for cost in self.costs.values() for kind in cost)
        return rows + [
            {"figure": kind, **{name: str(self.costs.get(name, {}).get(kind, "")) for name in self.figures}}
            for kind in kinds
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return {
            "part": self.part,
            "pictures": self.pictures,
            "runs": {
                name: {
                    "figures": {metric: interval._asdict() for metric, interval in figures.items()},
                    "cost": self.costs.get(name, {}),
                }
                for name, figures in self.figures.items()
            },
            "pairs": [
                {
                    "run": pair.name,
                    "against": pair.against,
                    "differences": {metric: interval._asdict() for metric, interval in pair.differences.items()},
                    "p": pair.p,
                    "significant": pair.significant,
                    "verdict": pair.verdict,
                    "newly_right": list(pair.newly_right),
                    "newly_wrong": list(pair.newly_wrong),
                }
                for pair in self.pairs
            ],
        }


def compare(
    evaluations: Mapping[str, Evaluation],
    *,
    chain: bool = False,
    costs: Mapping[str, dict[str, Any]] | None = None,
    names: Sequence[str] = COMPARED,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare classifiers.

    Args:
        evaluations: two or more by name; only labelled pictures that all of them have are looked at.
        chain: hold each against the one before it rather than against the first.
        names: metrics; "accuracy" always comes first.

    Raises:
        UsageError: fewer than two, not the same classes, no picture in common, or labels that disagree.
    """
    if len(evaluations) < 2:
        raise UsageError("one classifier alone cannot be compared: name two or more")
    names = ("accuracy", *(name for name in names if name != "accuracy"))
    same = aligned(evaluations)
    labels = next(iter(same.values())).labels
    drawn = {
        name: resampled(labels, e.probabilities, names, resamples=resamples, seed=seed) for name, e in same.items()
    }
    order = list(same)
    couples = list(pairwise(order)) if chain else [(order[0], other) for other in order[1:]]
    right = {name: e.predictions == labels for name, e in same.items()}
    tests = [mcnemar(int((right[a] & ~right[b]).sum()), int((right[b] & ~right[a]).sum())) for a, b in couples]
    values = {name: measure(labels, e.logits, names) for name, e in same.items()}
    pairs = []
    for (a, b), p in zip(couples, holm(tests), strict=True):
        differences = {m: Interval(values[b][m] - values[a][m], *ends(drawn[b][m] - drawn[a][m])) for m in names}
        pairs.append(
            Pair(b, a, differences, p, _surest(same[b], right[b] & ~right[a]), _surest(same[b], right[a] & ~right[b]))
        )
    figures = {name: intervals(e, names, resamples=resamples, seed=seed) for name, e in same.items()}
    part = next(iter(same.values())).part
    return Comparison(part, len(labels), figures, tuple(pairs), dict(costs or {}))


def aligned(evaluations: Mapping[str, Evaluation]) -> dict[str, Evaluation]:
    """The same evaluations with the pictures that all of them have labelled, in one order, classes as in the first.

    Raises:
        UsageError: as `compare`.
    """
    (first_name, first), *others = evaluations.items()
    common = {path for path, label in zip(first.paths, first.labels.tolist(), strict=True) if label >= 0}
    for name, other in others:
        if set(other.classes) != set(first.classes):
            raise UsageError(f"{name} and {first_name} do not tell the same classes apart: they cannot be compared")
        common &= {path for path, label in zip(other.paths, other.labels.tolist(), strict=True) if label >= 0}
    if not common:
        raise UsageError(
            f"{first_name} and {', '.join(n for n, _ in others)} were scored on no picture in common: "
            "evaluate them on the same data first"
        )
    paths = tuple(path for path in dict.fromkeys(first.paths) if path in common)
    made = {name: _taken(e, paths, first.classes) for name, e in evaluations.items()}
    for name, e in made.items():
        differ = np.flatnonzero(e.labels != made[first_name].labels)
        if len(differ):
            raise UsageError(
                f"{len(differ)} pictures have another label in {name} than in {first_name}, {paths[differ[0]]!r} for "
                "one: evaluate both again on the labels that are right"
            )
    return made


def shown(p: float) -> str:
    """A p-value as people write it."""
    return f"{p:.2f}" if p >= 0.1 else f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def _taken(evaluation: Evaluation, paths: tuple[str, ...], classes: tuple[str, ...]) -> Evaluation:
    row_of = {path: row for row, path in enumerate(evaluation.paths)}
    rows = np.array([row_of[path] for path in paths], dtype=np.int64)
    columns = np.array([evaluation.classes.index(name) for name in classes], dtype=np.int64)
    return Evaluation(
        paths=paths,
        labels=np.argsort(columns)[evaluation.labels[rows]],
        logits=evaluation.logits[rows][:, columns],
        classes=classes,
        part=evaluation.part,
    )


def _surest(evaluation: Evaluation, chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    rows = np.flatnonzero(chosen)
    return tuple(evaluation.paths[row] for row in rows[np.argsort(-evaluation.confidences[rows], kind="stable")])
