"""A figure as part of a web page: SVG whose colours follow the page, light or dark.

In: a matplotlib `Figure`. Out: one `<svg>` element with text as text, no ids that another figure has, no request.
"""

import io
import re
from typing import TYPE_CHECKING

from shoebox.evaluation import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The look's colours and the page's variables that take their place (`templates/page.css`).
VARIABLES = {
    style.INK: "--ink",
    style.MUTED: "--muted",
    style.PAPER: "--card",
    style.FAINT: "--line",
    "#e8ecf0": "--line",
    "#b6c0ca": "--axis",
    style.TRAIN: "--blue",
    style.VAL: "--orange",
    style.SHADES[2]: "--soft",
    style.SHADES[3]: "--bar",
    "#a3adb8": "--grey",
}
_IDS = re.compile(r'(\sid="|href="#|url\(#)')
_COLOURS = re.compile("|".join(VARIABLES))


def inline_svg(made: "Figure", name: str, label: str) -> str:
    """A figure as an `<svg>` element.

    Args:
        name: letters and dashes; no other figure of the page has it.
        label: what the figure shows, for those who cannot see it; plain text.
    """
    import matplotlib as mpl

    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        made.savefig(file, format="svg", metadata=nothing)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="([^"]+)"', head)
    assert box
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = _IDS.sub(lambda match: f"{match[1]}{name}-", body)
    body = _COLOURS.sub(lambda match: f"var({VARIABLES[match[0]]})", body)
    quoted = label.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    links = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    width = float(box[1].split()[2])  # points; letters of 9 are read well at 12 px, and no smaller than 8
    size = f"max-width:{1.45 * width:.0f}px;min-width:{0.84 * width:.0f}px"
    return f'<svg {links} viewBox="{box[1]}" style="{size}" role="img" aria-label="{quoted}">{body}'
