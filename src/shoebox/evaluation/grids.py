"""Grids of pictures as figures: samples, augmentations, mistakes, heat maps.

In: uint8 RGB pictures (n, H, W, 3) as a pack gives them, and names. Out: a matplotlib `Figure`. They join `FIGURES` in
`shoebox.evaluation.figures`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shoebox.evaluation import style
from shoebox.evaluation.confusions import confusions
from shoebox.evaluation.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Pictures = NDArray[np.uint8]

SIDE = 4  # pictures across and down


class Cell(NamedTuple):
    """Where a picture goes, in inches from the upper left: one pair of axes holds them all, since each of its own would
    be laid out and drawn for longer than its picture."""

    axes: "Axes"
    left: float
    top: float
    side: float


@style.figure
def sample_grid(pictures: Pictures, names: Sequence[str]) -> "Figure":
    """The first 16 pictures, each under the name of its class.

    Args:
        pictures: (n, H, W, 3) uint8 RGB.
        names: n class names, "" where there is none.
    """
    if not len(pictures):
        return style.notice("Sample pictures", "there are no pictures")
    made, cells = _grid("Sample pictures", min(len(pictures), SIDE * SIDE))
    for cell, picture, name in zip(cells, pictures, names, strict=False):
        _show(cell, picture)
        _caption(cell, style.label(name), style.INK, 4, fontsize=9.5)
    return made


@style.figure
def wrong_grid(evaluation: Evaluation, pictures: Pictures) -> "Figure":
    """The most confident mistakes, 16 at most: the true name, the predicted one, and how sure the classifier was.

    Args:
        evaluation: says which pictures are wrong.
        pictures: (n, H, W, 3) uint8 RGB, those of the rows `evaluation.wrong()[:n]`; n may be 0.
    """
    rows = evaluation.wrong()
    part = f" · {evaluation.part}" if evaluation.part else ""
    if not evaluation.labelled.any():
        return style.notice(f"Mistakes{part}", "no picture of this part has a label")
    if not len(rows):
        return style.notice(
            f"Mistakes{part}", f"none: all {evaluation.labelled.sum():,} pictures are classified rightly"
        )
    shown = min(len(pictures), len(rows), SIDE * SIDE)
    if not shown:
        return style.notice(f"Mistakes{part}", f"{len(rows):,} mistakes, none of whose pictures can be shown")
    made, cells = _grid(f"The most confident of {len(rows):,} mistakes{part}", shown)
    names = style.class_labels(evaluation.classes, 20)
    for cell, row, picture in zip(cells, rows, pictures, strict=False):
        _show(cell, picture)
        _caption(cell, f"predicted: {names[evaluation.predictions[row]]}", style.BAD, 4)
        _caption(cell, f"true: {names[evaluation.labels[row]]}", style.GOOD, 15)
        _badge(cell, f"{evaluation.confidences[row]:.0%}")
    return made


@style.figure
def unsure_grid(evaluation: Evaluation, pictures: Pictures) -> "Figure":
    """The least confident right answers, 16 at most: the class, and the one that came next.

    Args:
        evaluation: says which pictures are right.
        pictures: (n, H, W, 3) uint8 RGB, those of the rows `least_sure(evaluation)[:n]`; n may be 0.
    """
    rows = least_sure(evaluation)
    title = f"Right, but least sure{f' · {evaluation.part}' if evaluation.part else ''}"
    shown = min(len(pictures), len(rows), SIDE * SIDE)
    if not shown:
        return style.notice(title, "no picture is known to be right" if not len(rows) else "no picture can be shown")
    made, cells = _grid(title, shown)
    names = style.class_labels(evaluation.classes, 20)
    for cell, row, picture in zip(cells, rows, pictures, strict=False):
        _show(cell, picture)
        second = np.argsort(-evaluation.probabilities[row], kind="stable")[1:2]
        for k in second.tolist():
            _caption(cell, f"or {names[k]} {evaluation.probabilities[row, k]:.0%}", style.MUTED, 4)
        _caption(cell, names[evaluation.predictions[row]], style.GOOD, 15)
        _badge(cell, f"{evaluation.confidences[row]:.0%}")
    return made


def least_sure(evaluation: Evaluation) -> NDArray[np.int64]:
    """(n,) rows of the right answers, the least confident first."""
    rows = np.flatnonzero(evaluation.labelled & (evaluation.predictions == evaluation.labels))
    return rows[np.argsort(evaluation.confidences[rows], kind="stable")]


@style.figure
def heat_grid(pictures: Pictures, heats: NDArray[np.float32], names: Sequence[str]) -> "Figure":
    """Pictures beside the same under their heat maps (`shoebox.evaluation.explain`): where the evidence lies.

    Args:
        pictures: (n, H, W, 3) uint8 RGB, 8 at most are shown.
        heats: (n, H, W) float, 0…1.
        names: n lines to write above each, the class that the heat speaks for among them.
    """
    if not len(pictures):
        return style.notice("Where the evidence lies", "there are no pictures")
    shown = min(len(pictures), SIDE * SIDE // 2)
    made, cells = _grid("Where the evidence lies", 2 * shown)
    for left, right, picture, heat, name in zip(cells[::2], cells[1::2], pictures, heats, names, strict=False):
        _show(left, picture)
        _show(right, _under(picture, heat))
        _caption(left, style.label(name, 34), style.INK, 4, fontsize=9, middle=False)
    return made


def _under(picture: Pictures, heat: NDArray[np.float32]) -> Pictures:
    """A picture under its heat, which covers it the more the hotter it is."""
    from matplotlib import colormaps

    glow = 255 * colormaps["inferno"](heat)[..., :3]
    cover = np.minimum(0.75, 1.2 * heat)[..., None]
    return np.asarray((1 - cover) * picture + cover * glow, dtype=np.uint8)


@style.figure
def pairs_grid(evaluation: Evaluation, pictures: Sequence[Pictures], *, most: int = 6) -> "Figure":
    """The most frequent confusions, a row each, with the pictures that the classifier was surest of.

    Args:
        evaluation: says which they are.
        pictures: for each of `confusions(evaluation, most)`, (n, H, W, 3) uint8 RGB of its first rows.
    """
    found = confusions(evaluation, most)
    title = f"Most confused{f' · {evaluation.part}' if evaluation.part else ''}"
    across = max(map(len, pictures), default=0)
    if not found or not across:
        return style.notice(title, "there are no mistakes" if not found else "no picture can be shown")
    names = style.class_labels(evaluation.classes, 22)
    words = [(names[pair.true], f"taken for {names[pair.predicted]}") for pair in found]
    widest = 1.15 * max(style.inches(line, 10) for lines in words for line in lines)  # bold
    made, cells = _sheet(title, len(found), across, side=1.25, gap=0.1, above=0.2, before=max(2, widest + 0.2))
    for row, pair, lines, few in zip(cells, found, words, pictures, strict=True):
        note = f"{len(pair.rows):,} pictures,\n{pair.share:.1%} of the class"
        first = row[0]
        first.axes.text(0, first.top + 0.45 * first.side, "\n".join(lines), va="bottom", fontsize=10, fontweight="bold")
        first.axes.text(0, first.top + 0.55 * first.side, note, va="top", fontsize=9, color=style.MUTED)
        for cell, picture in zip(row, few, strict=False):
            _show(cell, picture)
    return made


@style.figure
def augmentation_grid(originals: Pictures, augmented: Pictures) -> "Figure":
    """What augmentation makes of pictures: a row a picture, the original first.

    Args:
        originals: (n, H, W, 3) uint8 RGB.
        augmented: (n, m, H', W', 3) uint8 RGB: m versions of each.
    """
    if not len(originals) or not augmented.shape[1]:
        return style.notice("Augmentation", "there are no pictures")
    columns = 1 + augmented.shape[1]
    made, cells = _sheet("Augmentation", len(originals), columns, side=1.38, gap=0.12, above=0.12, head=0.15)
    for row, original, versions in zip(cells, originals, augmented, strict=True):
        for cell, picture in zip(row, [original, *versions], strict=True):
            _show(cell, picture)
    _caption(cells[0][0], "original", style.INK, 4, fontsize=9.5, fontweight="bold")
    _caption(cells[0][1], "augmented", style.INK, 4, fontsize=9.5, middle=False)
    return made


def _grid(title: str, count: int) -> tuple["Figure", list[Cell]]:
    """A figure up to four pictures wide with places for `count` of them."""
    made, cells = _sheet(title, -(-count // SIDE), min(count, SIDE), side=2.28, gap=0.22, above=0.42)
    return made, [cell for row in cells for cell in row][:count]


def _sheet(
    title: str, down: int, across: int, *, side: float, gap: float, above: float, before: float = 0, head: float = 0
) -> tuple["Figure", list[list[Cell]]]:
    """A figure with rows of places for pictures; all in inches.

    Args:
        down, across: how many.
        side: of a place.
        gap: between two of a row.
        above: room above each row; `head` more above the first.
        before: room at the left of each row.
    """
    width, height = before + across * (side + gap) - gap, head + down * (side + above)
    made = style.new_figure(max(width + 0.3, 5), height + 0.6, title)
    axes = made.add_subplot(frame_on=False, xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0), aspect="equal")
    return made, [
        [Cell(axes, before + j * (side + gap), head + above + i * (side + above), side) for j in range(across)]
        for i in range(down)
    ]


def _caption(cell: Cell, text: str, colour: str, points: float, *, middle: bool = True, **look: Any) -> None:
    """A line of text that many points above a picture, over its middle or from its left edge on."""
    look = {"fontsize": 8.5, "color": colour, "ha": "center" if middle else "left", **look}
    place = (cell.left + 0.5 * cell.side if middle else cell.left, cell.top)
    cell.axes.annotate(text, place, (0, points), textcoords="offset points", **look)


def _badge(cell: Cell, text: str) -> None:
    """A few letters on a dark ground in a picture's upper right corner."""
    ground: dict[str, Any] = {"boxstyle": "round,pad=0.3", "facecolor": style.INK, "alpha": 0.75, "linewidth": 0}
    right, top = cell.left + 0.97 * cell.side, cell.top + 0.04 * cell.side
    cell.axes.text(right, top, text, color=style.PAPER, fontsize=8, ha="right", va="top", bbox=ground)


def _show(cell: Cell, picture: Pictures) -> None:
    """One picture at the top of its place, smoothly enlarged when it is tiny."""
    height, width = picture.shape[:2]
    wide, high = (cell.side * part / max(height, width) for part in (width, height))
    left, top = cell.left + (cell.side - wide) / 2, cell.top
    smooth = "bicubic" if max(height, width) < 128 else "auto"
    cell.axes.imshow(picture, interpolation=smooth, extent=(left, left + wide, top + high, top))
