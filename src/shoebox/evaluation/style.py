"""One look for all figures: colours, sizes, fonts, and names that every figure can draw.

`figure` is what each drawing function is wrapped in: it sets the look, finishes the layout under it and puts the
reader's own matplotlib settings back. Colours are Okabe and Ito's, told apart with any colour vision
(jfly.uni-koeln.de/color).
"""

import functools
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec

from shoebox.evaluation.text import elide, visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")

INK, MUTED, FAINT, PAPER = "#1f2933", "#66727f", "#dfe4ea", "#ffffff"
TRAIN, VAL, GOOD, BAD = "#0072b2", "#d55e00", "#007a5a", "#b8460e"
PARTS = {"train": TRAIN, "val": VAL, "test": "#009e73", "pile": "#cc79a7", "": "#a3adb8"}
PART_NAMES = {"val": "validation", "": "undecided"}
SHADES = ("#f7fafc", "#cfe3f1", "#8fbfdf", "#3f8fc4", "#0b62a0", "#083a63")  # light to dark, for shares of 0…1
# Of classes: Okabe and Ito's first, then others between them.
CLASSES = (
    *("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#8a7500", "#5b3fa6", "#7f8c99", "#a32638"),
    *("#00b5ad", "#f4b6c2", "#4d6b2f", "#b07aa1", "#1f2f7a", "#c9b458", "#6b4226", "#98df8a", "#ff7f6e", "#2b2b2b"),
)
STEPS = ("#a3c9e2", "#3f8fc4", "#06304f")  # light to dark, for things that come one after another
DPI = 150
NAMED = 100  # classes up to which an axis has room for their names

# Families that hold scripts the built-in font lacks, in order of preference; those installed are used.
_FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Arial Unicode MS",
    "Noto Sans",
    "Noto Sans Devanagari",
    "Noto Emoji",
    "Segoe UI Symbol",
)
_MISSING = "□"
_LETTER = 0.634  # the width of "n" in the built-in font, in em
_drawing = threading.RLock()  # the look is set process-wide while a figure is drawn


def figure(draw: Callable[P, "Figure"]) -> Callable[P, "Figure"]:
    """Run `draw` under the look of Shoebox and lay the figure out, for good: it is the same whoever saves it."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> "Figure":
        import matplotlib as mpl

        with _drawing, mpl.rc_context(_look()):
            made = draw(*args, **kwargs)
            if made.axes and (layout := made.get_layout_engine()):
                layout.execute(made)  # which makes the ticks, under this look
                layout.execute(made)  # once more: the first time, a legend's room is not yet known
            made.set_layout_engine(None)
            return made

    return drawn


def new_figure(width: float, height: float, title: str = "") -> "Figure":
    """An empty figure of that size in inches, whose layout keeps every label inside it."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    made = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    if title:
        made.suptitle(title, fontweight="bold")
    return made


def notice(title: str, text: str) -> "Figure":
    """A figure that says why there is nothing to see."""
    made = new_figure(6, 2.2, title)
    axes = made.add_subplot(frame_on=False, xticks=[], yticks=[])
    axes.text(0.5, 0.5, text, ha="center", va="center", color=MUTED, fontsize=11)
    return made


def class_labels(classes: Sequence[str], limit: int = 24) -> list[str]:
    """Names that a figure can show: at most `limit` letters "n" wide, each drawable and none twice.

    A name that cannot be drawn, or that looks like another once shortened, is told by its number: "#3 …".
    """
    plain = [label(name, limit) for name in classes]
    times = Counter(plain)
    return [
        label(f"#{number} {name}", limit) if times[short] > 1 or _MISSING in short or not short.strip() else short
        for number, (name, short) in enumerate(zip(classes, plain, strict=True))
    ]


def label(name: str, limit: int = 24) -> str:
    """One name short enough for a figure and drawable: at most `limit` letters "n" wide."""
    return elide(_drawable(visible(name)), limit, _letters).replace("$", r"\$")  # no name is a formula


def inches(text: str, points: float) -> float:
    """How wide a label is when drawn at that size of type."""
    return sum(map(_letters, text.replace(r"\$", "$"))) * _LETTER * points / 72


def _drawable(name: str) -> str:
    """`name` with a box for each character that no font at hand has; matplotlib would draw one too, and warn."""
    kept = (c for c in name if _font_of(c) or unicodedata.category(c) != "Mn")
    return "".join(c if _font_of(c) else _MISSING for c in kept)


@functools.cache
def _letters(character: str) -> float:
    """The width of a drawable character in letters "n"."""
    from matplotlib.font_manager import get_font

    if unicodedata.category(character) == "Mn":
        return 0.0
    font = get_font(_font_of(character))
    font.set_size(100, 72)  # points, dots an inch: a dot is 1/100 em
    return float(font.load_char(ord(character)).linearHoriAdvance / 65536 / 100 / _LETTER)


@functools.cache
def _font_of(character: str) -> str:
    """The file of the font that draws a character; "" if none can."""
    return next((path for _, path, glyphs in _fonts() if ord(character) in glyphs), "")


@functools.cache
def _fonts() -> tuple[tuple[str, str, frozenset[int]], ...]:
    """The families in use: name, file, and the characters that it has."""
    from matplotlib.font_manager import FontProperties, findfont, get_font, get_font_names

    installed = set(get_font_names())
    families = ("DejaVu Sans", *(family for family in _FALLBACKS if family in installed))
    files = [str(findfont(FontProperties(family=family))) for family in families]
    return tuple(
        (family, file, frozenset(get_font(file).get_charmap())) for family, file in zip(families, files, strict=True)
    )


def _look() -> dict[Any, Any]:
    return {
        "figure.autolayout": False,
        "figure.constrained_layout.use": False,
        "figure.dpi": DPI,
        "figure.facecolor": PAPER,
        "figure.titlesize": 13,
        "font.family": [family for family, _, _ in _fonts()],
        "font.size": 9.5,
        "text.color": INK,
        "text.usetex": False,
        "text.parse_math": True,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlepad": 8,
        "axes.titlelocation": "left",
        "axes.labelcolor": MUTED,
        "axes.labelsize": 9.5,
        "axes.edgecolor": "#b6c0ca",
        "axes.facecolor": PAPER,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e8ecf0",
        "grid.linewidth": 0.8,
        "lines.linewidth": 1.8,
        "lines.solid_capstyle": "round",
        "xtick.color": "#b6c0ca",
        "ytick.color": "#b6c0ca",
        "xtick.labelcolor": MUTED,
        "ytick.labelcolor": MUTED,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "image.interpolation": "auto",
        "savefig.dpi": "figure",
    }
