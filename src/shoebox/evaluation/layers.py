"""A network as a figure: its layers from the picture to the answer, with what each costs.

In: a `Summary` (`shoebox.models.summary`). Out: a matplotlib `Figure`. It joins `FIGURES` in
`shoebox.evaluation.figures`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoebox.evaluation import style
from shoebox.models.summary import LayerRow, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = 26  # more layers than this are shown as the blocks they belong to


@dataclass(frozen=True)
class Block:
    """Some layers of one name's beginning: what comes out of them and what they cost together."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


def blocks(summary: Summary, most: int = ROWS) -> list[Block]:
    """The layers, joined by the beginnings of their names until there are at most `most`; in the picture's order."""
    rows = [row for row in summary.rows if row.shape or row.parameters]
    deepest = max((row.name.count(".") + 1 for row in rows), default=1)
    found: list[Block] = []
    for depth in range(deepest, 0, -1):
        groups: dict[str, list[LayerRow]] = {}
        for row in rows:
            groups.setdefault(".".join(row.name.split(".")[:depth]), []).append(row)
        found = [_joined(name, group) for name, group in groups.items()]
        if len(found) <= most:
            break
    return found


def _joined(name: str, group: list[LayerRow]) -> Block:
    last = [row for row in group if row.shape] or group
    kinds = list(dict.fromkeys(row.kind for row in group if row.parameters)) or [group[-1].kind]
    kind = ", ".join(kinds[:2]) + (", …" if len(kinds) > 2 else "")
    return Block(name, kind, last[-1].shape, sum(r.parameters for r in group), sum(r.multiply_adds for r in group))


@style.figure
def network_table(summary: Summary) -> "Figure":
    """The layers (of a deep network its blocks) with the shape of what they put out, their parameters and multiply-adds
    for one picture."""
    shown = blocks(summary)
    if not shown:
        return style.notice("The network", "it has no layers")
    title = (
        f"The network · {summary.parameters:,} parameters, {summary.multiply_adds / 1e6:,.1f} M multiply-adds a picture"
    )
    made = style.new_figure(11, 0.27 * len(shown) + 1.5, title)
    words, left, right = made.subplots(1, 3, width_ratios=(1.5, 1, 1), sharey=True)
    places = np.arange(len(shown))
    words.set(xlim=(0, 1), ylim=(len(shown) - 0.4, -0.6), xticks=[], yticks=[])
    words.spines[:].set_visible(False)
    words.grid(visible=False)
    for place, block in zip(places, shown, strict=True):
        words.text(0, place, style.label(block.name, 26) or "·", va="center", fontsize=8.5, fontweight="bold")
        words.text(0.46, place, style.label(block.kind, 22), va="center", fontsize=8.5, color=style.MUTED)
        words.text(1, place, " × ".join(map(str, block.shape)), va="center", ha="right", fontsize=8.5)
    words.set_title("layer, kind, output", fontsize=9.5)
    _bars(left, "parameters", [block.parameters for block in shown], style.TRAIN)
    _bars(right, "multiply-adds a picture", [block.multiply_adds for block in shown], style.VAL)
    return made


def _bars(axes: "Axes", title: str, values: list[int], colour: str) -> None:
    places = np.arange(len(values))
    axes.barh(places, values, height=0.62, color=colour)
    for place, value in zip(places, values, strict=True):
        anchor: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(f"{value:,}", (value, place), color=style.MUTED, fontsize=8, **anchor)
    axes.set_title(title, fontsize=9.5)
    axes.set(xlim=(0, 1.4 * max(*values, 1)), xticks=[], yticks=[])
    axes.spines["bottom"].set_visible(False)
    axes.grid(visible=False)
