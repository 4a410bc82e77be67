"""What confidence is worth: the reliability diagram, and mistakes left when unsure answers are left to a person.

In: an Evaluation. Out: matplotlib `Figure`s. They join `FIGURES` in `shoebox.evaluation.figures`.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from shoebox.evaluation import style
from shoebox.evaluation.evaluation import Evaluation
from shoebox.evaluation.reliability import BINS, reliability
from shoebox.evaluation.selective import selective

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@style.figure
def reliability_diagram(evaluation: Evaluation, *, bins: int = BINS) -> "Figure":
    """How often the classifier is right at each confidence, beside how often it would have to be; below, how many
    pictures have that confidence."""
    known = evaluation.labelled
    title = f"Confidence against accuracy{f' · {evaluation.part}' if evaluation.part else ''}"
    if not known.any():
        return style.notice(title, "no picture of this part has a label")
    found = reliability(evaluation.confidences[known], (evaluation.predictions == evaluation.labels)[known], bins=bins)
    made = style.new_figure(5.2, 4.6, title)
    above, below = made.subplots(2, 1, height_ratios=(3.2, 1), sharex=True)
    left, width = found.edges[:-1], np.diff(found.edges)
    filled = found.count > 0
    accuracy = np.nan_to_num(found.accuracy)
    above.bar(left, accuracy, width, align="edge", color=style.SHADES[2], edgecolor=style.PAPER, label="accuracy")
    low, high = np.fmin(found.accuracy, found.confidence), np.fmax(found.accuracy, found.confidence)
    gap: dict[str, Any] = {"facecolor": "none", "edgecolor": style.VAL, "hatch": "////", "linewidth": 0.8}
    above.bar(
        *(left[filled], (high - low)[filled], width[filled], low[filled]),
        align="edge",
        label="gap to the mean confidence",
        **gap,
    )
    above.plot([0, 1], [0, 1], color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)), label="as sure as right")
    above.set(ylabel="share that is right", ylim=(0, 1), xlim=(0, 1))
    above.legend(loc="upper left")
    note = f"calibration error {found.error:.1%}: the gap, averaged over the pictures"
    above.set_title(note, fontsize=9.5, fontweight="normal", color=style.MUTED)
    below.bar(left, found.count / found.count.sum(), width, align="edge", color="#a3adb8", edgecolor=style.PAPER)
    below.set(xlabel="confidence", ylabel="share of pictures")
    for axis in (above.yaxis, below.yaxis, below.xaxis):
        axis.set_major_formatter(lambda value, _: f"{value:.0%}")
    return made


@style.figure
def coverage_risk(evaluation: Evaluation) -> "Figure":
    """Mistakes among the answers if only the surest share of pictures is answered and a person does the others."""
    title = f"Answering only when sure{f' · {evaluation.part}' if evaluation.part else ''}"
    if not evaluation.labelled.any():
        return style.notice(title, "no picture of this part has a label")
    found = selective(evaluation)
    made = style.new_figure(5.2, 4.6, title)
    axes = made.add_subplot()
    axes.plot(found.coverage, found.risk, color=style.TRAIN, label="mistakes among the answers")
    axes.fill_between(found.coverage, found.risk, color=style.TRAIN, alpha=0.12, linewidth=0)
    for risk in (0.01, 0.05):
        coverage = found.coverage_at(risk)
        if risk < found.risk[-1] and coverage > 0:
            axes.plot([coverage], [risk], "o", color=style.VAL, markersize=6)
            note = f"{coverage:.0%} answered, {risk:.0%} wrong"
            # Left of the point and above it nothing is drawn: the curve rises to the right.
            far = coverage > 0.4
            anchor: dict[str, Any] = {
                "xytext": (-8 if far else 0, 6 if far else 24),
                "textcoords": "offset points",
                "ha": "right" if far else "left",
            }
            axes.annotate(note, (coverage, risk), color=style.INK, fontsize=9, **anchor)
    axes.set(xlabel="share of the pictures that is answered, the surest first", ylabel="share of answers that is wrong")
    axes.set(xlim=(0, 1), ylim=(0, max(float(found.risk.max()) * 1.15, 0.01)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    note = f"{found.risk[-1]:.1%} wrong if all are answered · area {found.aurc:.4f}"
    axes.set_title(note, fontsize=9.5, fontweight="normal", color=style.MUTED)
    return made
