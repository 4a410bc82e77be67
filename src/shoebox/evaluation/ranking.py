"""ROC and precision-recall curves: how well each class is ranked above the rest, at any threshold.

In: an Evaluation. Out: matplotlib `Figure`s, and the curves themselves. They join `FIGURES` in
`shoebox.evaluation.figures`.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shoebox.evaluation import style
from shoebox.evaluation.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = tuple[NDArray[np.float64], NDArray[np.float64], float]

MANY = 10  # classes up to which each has a line of its own colour
SHOWN = 5  # of more classes, those of the least area that are named


def roc_curve(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> Curve:
    """False and true positive rates (T,) as the threshold falls, from (0, 0) to (1, 1), and the area under them."""
    right, total = _counts(positive, scores)
    true_rate = right / max(right[-1], 1)
    false_rate = (total - right) / max(total[-1] - right[-1], 1)
    return false_rate, true_rate, float(np.trapezoid(true_rate, false_rate))


def precision_recall_curve(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> Curve:
    """Recall and precision (T,) as the threshold falls, and the average precision.

    The sum of precision × gain in recall, as scikit-learn's: no line is drawn between thresholds that do not exist.
    """
    right, total = (counts[1:] for counts in _counts(positive, scores))
    recall, precision = right / max(right[-1], 1), right / total
    return recall, precision, float(np.sum(np.diff(recall, prepend=0) * precision))


def _counts(
    positive: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How many positives, and how many in all, are at or above each threshold; (0, 0) first; equal scores as one."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    right = np.cumsum(positive[order])[ends]
    return np.append(0.0, right), np.append(0.0, ends + 1.0)


@style.figure
def roc_curves(evaluation: Evaluation) -> "Figure":
    """ROC curves, each class against the rest, with the area under each.

    Of more than ten classes, all are drawn faintly and the five of the least area by name.
    """
    return _curves(evaluation, "ROC curves", "roc")


@style.figure
def precision_recall(evaluation: Evaluation) -> "Figure":
    """Precision over recall, each class against the rest, with its average precision; many classes as `roc_curves`."""
    return _curves(evaluation, "Precision and recall", "precision-recall")


def _curves(evaluation: Evaluation, title: str, kind: str) -> "Figure":
    title += f" · {evaluation.part}" if evaluation.part else ""
    known = evaluation.labelled
    labels, probabilities = evaluation.labels[known], evaluation.probabilities[known]
    present = [k for k, n in enumerate(np.bincount(labels, minlength=len(evaluation.classes))) if 0 < n < len(labels)]
    if not present:
        return style.notice(title, "no class has both pictures and a rest to be told from")
    draw = roc_curve if kind == "roc" else precision_recall_curve
    curves = {k: draw(labels == k, probabilities[:, k]) for k in present}
    areas = np.array([curves[k][2] for k in present])
    worst = [present[i] for i in np.argsort(areas, kind="stable")]
    named = present if len(present) <= MANY else worst[:SHOWN]
    names = style.class_labels(evaluation.classes, 20)

    made = style.new_figure(7.4, 5.2, title)
    axes = made.add_subplot()
    for k in present if len(present) > MANY else ():
        axes.plot(*curves[k][:2], color=style.FAINT, linewidth=0.8, zorder=1)
    for number, k in enumerate(named):
        axes.plot(*curves[k][:2], color=style.CLASSES[number], linewidth=1.5, label=f"{names[k]} · {curves[k][2]:.3f}")
    if kind == "roc":
        axes.plot([0, 1], [0, 1], color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.set(
            xlabel="false alarms: share of the rest taken for the class", ylabel="share of the class that is found"
        )
    else:
        axes.set(
            xlabel="recall: share of the class that is found", ylabel="precision: share of the found that is right"
        )
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    what = "area" if kind == "roc" else "average precision"
    note = f"{what} {areas.mean():.3f}, mean of {len(present)} classes"
    axes.set_title(note, fontsize=9.5, fontweight="normal", color=style.MUTED, loc="left")
    heading = f"class · {what}" if len(named) == len(present) else f"the {len(named)} lowest · {what}"
    made.legend(loc="outside right center", title=heading, alignment="left")
    return made
