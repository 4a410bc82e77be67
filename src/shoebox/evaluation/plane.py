"""The map of the pictures as a figure: a dot a picture, a colour a class, the mistakes ringed.

In: an Evaluation and a `Map` of it (`shoebox.evaluation.embedding`). Out: a matplotlib `Figure`. It joins `FIGURES` in
`shoebox.evaluation.figures`.
"""

from typing import TYPE_CHECKING

import numpy as np

from shoebox.evaluation import style
from shoebox.evaluation.embedding import Map
from shoebox.evaluation.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "os^D"  # told apart where colours repeat
NAMES = {"tsne": "t-SNE", "umap": "UMAP"}
LISTED = 40  # classes up to which there is room for a legend


@style.figure
def embedding_map(evaluation: Evaluation, shown: Map) -> "Figure":
    """Pictures that the network sees alike lie side by side: t-SNE or UMAP of its features.

    The colour is that of the true class (of the predicted one where no label is known); a mistake has a ring in the
    colour of the class it was taken for.
    """
    title = f"{NAMES[shown.method]} map of the features{f' · {evaluation.part}' if evaluation.part else ''}"
    if not len(shown.rows):
        return style.notice(title, "there are no pictures")
    labels, predictions = evaluation.labels[shown.rows], evaluation.predictions[shown.rows]
    groups = np.where(labels >= 0, labels, predictions)
    wrong = (labels >= 0) & (labels != predictions)
    across, down = shown.places.T
    names = style.class_labels(evaluation.classes, 20)
    colours = np.array([style.CLASSES[k % len(style.CLASSES)] for k in range(len(names))])
    present = np.unique(groups).tolist()

    made = style.new_figure(10, 7.6, title)
    axes = made.add_subplot(xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)
    size = float(np.clip(24_000 / len(groups), 7, 40))
    for k in present:
        marker = MARKERS[k // len(style.CLASSES) % len(MARKERS)]
        here = groups == k
        axes.scatter(across[here], down[here], s=size, color=colours[k], marker=marker, linewidths=0, label=names[k])
    axes.scatter(
        across[wrong],
        down[wrong],
        s=2.6 * size,
        facecolors="none",
        edgecolors=colours[predictions[wrong]],
        linewidths=0.9,
    )
    note = f"{len(groups):,} pictures" if len(groups) == shown.total else f"{len(groups):,} of {shown.total:,} pictures"
    if wrong.any():
        note += f" · {wrong.sum():,} mistakes ringed in the colour of the class they were taken for"
    axes.set_title(note, fontsize=9.5, fontweight="normal", color=style.MUTED)
    if len(present) <= LISTED:
        made.legend(loc="outside right center", ncols=1 + (len(present) > 20), markerscale=float(np.sqrt(40 / size)))
    return made
