"""How strange known and foreign pictures are to a classifier, as a figure.

In: an `Apart` (`shoebox.evaluation.novelty`). Out: a matplotlib `Figure`. It joins `FIGURES` in
`shoebox.evaluation.figures`.
"""

from typing import TYPE_CHECKING

import numpy as np

from shoebox.evaluation import style
from shoebox.evaluation.novelty import Apart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 40


@style.figure
def strangeness(apart: Apart) -> "Figure":
    """Two histograms of the score, of known and of foreign pictures, and the threshold between them."""
    made = style.new_figure(5.2, 4.2, "How strange it finds pictures")
    axes = made.add_subplot()
    both = np.concatenate([apart.known, apart.foreign])
    low, high = np.quantile(both, [0.002, 0.998])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    for scores, colour, name in ((apart.known, style.TRAIN, "of its classes"), (apart.foreign, style.VAL, "foreign")):
        shares = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)[0] / len(scores)
        axes.stairs(shares, edges, fill=True, color=colour, alpha=0.45, label=f"{name} ({len(scores):,})")
        axes.stairs(shares, edges, color=colour, linewidth=1.4)
    if edges[0] < apart.threshold < edges[-1]:
        axes.axvline(apart.threshold, color=style.MUTED, linewidth=1.2, linestyle=(0, (4, 3)), label="threshold")
    axes.set(xlabel="score: the higher, the stranger", ylabel="share of the pictures", xlim=(edges[0], edges[-1]))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_title(f"AUROC {apart.auroc:.3f}", fontsize=9.5, fontweight="normal", color=style.MUTED)
    axes.legend(loc="best")
    return made
