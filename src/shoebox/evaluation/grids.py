"""Grids of pictures as figures: samples, augmentations, mistakes, heat maps.

In: uint8 RGB pictures (n, H, W, 3) as a pack gives them, and names. Out: a matplotlib `Figure`. They join `FIGURES` in
`shoebox.evaluation.figures`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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
BARE: dict[str, Any] = {"frame_on": False, "xticks": [], "yticks": []}  # axes that show nothing but their picture


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
        cell.set_title(style.label(name), fontsize=9.5, fontweight="normal", loc="center", pad=4)
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
        left.set_title(style.label(name, 34), fontsize=9, fontweight="normal", loc="left", pad=4)
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
    made = style.new_figure(1.35 * across + 2.6, 1.45 * len(found) + 0.7, title)
    cells = made.subplots(len(found), across + 1, squeeze=False, subplot_kw=BARE, width_ratios=[1.8, *[1] * across])
    for row, pair, few in zip(cells, found, pictures, strict=True):
        words = f"{names[pair.true]}\ntaken for {names[pair.predicted]}"
        row[0].text(0, 0.62, words, va="center", fontsize=10, fontweight="bold", transform=row[0].transAxes)
        note = f"{len(pair.rows):,} pictures,\n{pair.share:.1%} of the class"
        row[0].text(0, 0.2, note, va="center", fontsize=9, color=style.MUTED, transform=row[0].transAxes)
        for cell, picture in zip(row[1:], few, strict=False):
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
    made = style.new_figure(1.5 * columns + 0.3, 1.5 * len(originals) + 0.9, "Augmentation")
    cells = made.subplots(len(originals), columns, squeeze=False, subplot_kw=BARE)
    for row, original, versions in zip(cells, originals, augmented, strict=True):
        for cell, picture in zip(row, [original, *versions], strict=True):
            _show(cell, picture)
    cells[0, 0].set_title("original", fontsize=9.5, loc="center")
    cells[0, 1].set_title("augmented", fontsize=9.5, fontweight="normal", loc="left")
    return made


def _grid(title: str, count: int) -> tuple["Figure", list["Axes"]]:
    """A figure up to four pictures wide with axes for `count` of them."""
    across = min(count, SIDE)
    down = -(-count // SIDE)
    made = style.new_figure(max(2.5 * across, 5), 2.7 * down + 0.7, title)
    return made, list(made.subplots(down, across, squeeze=False, subplot_kw=BARE).flat)[:count]


def _caption(cell: "Axes", text: str, colour: str, points: float) -> None:
    """A line of text centred that many points above a picture."""
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "center"}
    cell.annotate(text, (0.5, 1), (0, points), color=colour, fontsize=8.5, **place)


def _badge(cell: "Axes", text: str) -> None:
    """A few letters on a dark ground in a picture's upper right corner."""
    ground = {"boxstyle": "round,pad=0.3", "facecolor": style.INK, "alpha": 0.75, "linewidth": 0}
    place: dict[str, Any] = {"transform": cell.transAxes, "ha": "right", "va": "top", "bbox": ground}
    cell.text(0.97, 0.96, text, color=style.PAPER, fontsize=8, **place)


def _show(cell: "Axes", picture: Pictures) -> None:
    """One picture, smoothly enlarged when it is tiny."""
    cell.imshow(picture, interpolation="bicubic" if max(picture.shape[:2]) < 128 else "auto")
