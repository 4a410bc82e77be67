"""Names as a person can read them: class names come from folders and may hold anything a file system allows.

In: any string. Out: one that prints on one line, of a known width on the screen, short enough to label a figure.
"""

import unicodedata
from collections.abc import Callable

ELLIPSIS = "…"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def visible(name: str) -> str:
    """`name` on one line and encodable.

    Odd spaces become a space; invisible formatting (joiners, direction overrides) goes; line ends, control characters
    and bytes that were no UTF-8 become �.
    """
    shown = []
    for character in name:
        category = unicodedata.category(character)
        if category == "Zs":
            shown.append(" ")
        elif category in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp"):
            shown.append(REPLACEMENT)
        elif category != "Cf":
            shown.append(character)
    return "".join(shown)


def width(text: str) -> int:
    """Columns that `text` takes on a terminal: 2 for wide (CJK, emoji), 0 for combining characters."""
    return sum(columns(character) for character in text)


def columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def elide(text: str, limit: float, size: Callable[[str], float] = columns) -> str:
    """`text` at most `limit` wide, its middle left out: long names often share a beginning and differ at the end.

    Args:
        text: a visible name.
        limit: the width that there is room for, in the unit of `size`.
        size: the width of one character.
    """
    if sum(map(size, text)) <= limit:
        return text
    room = (limit - size(ELLIPSIS)) / 2
    head, tail = _fitting(text, room, size), _fitting(text[::-1], room, size)[::-1]
    return head.rstrip() + ELLIPSIS + tail.lstrip()


def _fitting(text: str, limit: float, size: Callable[[str], float]) -> str:
    """The longest beginning of `text` that is at most `limit` wide."""
    used = 0.0
    for place, character in enumerate(text):
        used += size(character)
        if used > limit:
            return text[:place]
    return text


def pad(text: str, total: int) -> str:
    """`text` filled up with spaces on the left to `total` columns."""
    return " " * (total - width(text)) + text
