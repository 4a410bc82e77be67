"""The confusion matrix as a figure: which class is taken for which.

In: an `Evaluation`. Out: a matplotlib `Figure`. It joins `FIGURES` in `shoebox.evaluation.figures`.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shoebox.evaluation import style
from shoebox.evaluation.confusions import order_by_confusion
from shoebox.evaluation.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ANNOTATED = 25  # classes up to which there is room to write the counts
MOST_MISTAKEN = 50  # of more classes than can be named, so many are shown


@style.figure
def confusion_matrix(evaluation: Evaluation, *, order: str = "given", cells: str = "counts") -> "Figure":
    """True class (rows) against predicted class (columns), shaded by the share of the true class.

    Counts are written in up to 25 classes. Above 100 classes the 50 with the most mistakes are shown, and the figure
    says so. A true class without a picture is grey.

    Args:
        order: "given", or "confusion": classes that are often confused stand side by side.
        cells: what is written in them: "counts", or "shares" of the true class in percent.

    Raises:
        ValueError: another order or content.
    """
    if order not in ("given", "confusion") or cells not in ("counts", "shares"):
        raise ValueError(f"order={order!r}, cells={cells!r}: expected given or confusion, counts or shares")
    known = evaluation.labelled
    part = f" · {evaluation.part}" if evaluation.part else ""
    title = f"Confusion matrix{part}"
    if not known.any():
        return style.notice(title, "no picture of this part has a label")
    labels, predictions = evaluation.labels[known], evaluation.predictions[known]
    classes, shown = len(evaluation.classes), np.arange(len(evaluation.classes))
    note = f"accuracy {np.mean(labels == predictions):.1%} of {len(labels):,} pictures"
    if classes > style.NAMED:
        mistakes = np.bincount(labels[labels != predictions], minlength=classes)
        shown = np.sort(np.argsort(-mistakes, kind="stable")[:MOST_MISTAKEN])
        note += f" · the {len(shown)} of {classes:,} classes with the most mistakes"
    if order == "confusion":
        places = order_by_confusion(evaluation)
        shown = places[np.isin(places, shown)]
        note += " · alike classes side by side"
    counts = np.array([np.bincount(predictions[labels == k], minlength=classes)[shown] for k in shown])
    names = style.class_labels(evaluation.classes)
    support = np.bincount(labels, minlength=classes)[shown]
    return _matrix(title, note, counts, support, [names[k] for k in shown], in_percent=cells == "shares")


def _matrix(
    title: str,
    note: str,
    counts: NDArray[np.int64],
    support: NDArray[np.int64],
    names: list[str],
    *,
    in_percent: bool,
) -> "Figure":
    """A square of cells with room for the names around it, the shades explained beside it."""
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm
    from matplotlib.ticker import PercentFormatter

    size, few = len(names), len(names) <= ANNOTATED
    cell = float(np.clip(9.5 / size, 0.38, 1.1)) if few else 0.145  # inches
    letters = float(np.clip(cell * 72 * 0.6, 6, 9.5))
    longest = max(style.inches(name, letters) for name in names)
    lean = 0 if longest < 0.9 * cell else 45 if few else 90
    below = {0: 0.2, 45: 0.75 * longest + 0.2, 90: longest}[lean]
    made = style.new_figure(max(cell * size + longest + 1.7, 5.0), max(cell * size, 2.4) + below + 1.2, title)
    axes = made.add_subplot()
    axes.set_title(note, fontsize=9.5, fontweight="normal", color=style.MUTED, loc="center")

    shares = np.where(support[:, None] > 0, counts / np.maximum(support, 1)[:, None], np.nan)
    colours = LinearSegmentedColormap.from_list("shares", style.SHADES).with_extremes(bad="#eef0f2")
    # Shades by the square root: a confusion of 2 % is to be seen beside a diagonal of 98 %.
    image = axes.imshow(shares, cmap=colours, norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    axes.set_yticks(range(size), names, fontsize=letters)
    axes.set_xticks(range(size), names, fontsize=letters, rotation=lean, ha="right" if lean == 45 else "center")
    for label in axes.get_xticklabels() if lean == 45 else ():
        label.set_rotation_mode("anchor")
    axes.set(xlabel="predicted", ylabel="true")
    axes.grid(visible=False)
    axes.tick_params(length=0, labelcolor=style.INK)
    axes.spines[:].set_visible(False)
    for edge in np.arange(size - 1) + 0.5:
        axes.axhline(edge, color=style.PAPER, linewidth=1.2 if few else 0.4)
        axes.axvline(edge, color=style.PAPER, linewidth=1.2 if few else 0.4)
    longest_text = 3 if in_percent else len(str(counts.max()))
    digits = min(11.0, 0.8 * cell * 72 / (0.636 * longest_text))
    for row, column in np.argwhere(counts > 0) if few else ():
        ink = style.PAPER if shares[row, column] > 0.3 else style.INK
        written = f"{100 * shares[row, column]:.0f}" if in_percent else str(counts[row, column])
        axes.text(column, row, written, ha="center", va="center", color=ink, fontsize=digits)

    across = 0.75 * cell * size / 0.2  # how often its width of 0.2 inches goes into its length
    bar = made.colorbar(image, ax=axes, shrink=0.75, aspect=across, pad=0.02, format=PercentFormatter(1, decimals=0))
    bar.set_ticks([0, 0.02, 0.1, 0.25, 0.5, 1])
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    return made
