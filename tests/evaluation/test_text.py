"""Names made fit to print."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoebox.evaluation.text import elide, pad, visible, width

ANYTHING = st.text(st.characters(), max_size=40)  # surrogates included


@given(ANYTHING)
def test_visible_is_one_encodable_line(name: str) -> None:
    shown = visible(name)
    assert len(shown.splitlines()) <= 1
    assert shown.encode("utf-8") or not shown
    assert visible(shown) == shown


@given(ANYTHING, st.integers(3, 30))
def test_elide_fits(name: str, limit: int) -> None:
    text = visible(name)
    assert width(elide(text, limit)) <= limit
    if width(text) <= limit:
        assert elide(text, limit) == text


def test_elide_keeps_both_ends() -> None:
    assert elide("n02085620-the-long-name-of-a-Chihuahua", 15) == "n020856…ihuahua"


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("猫", 2), ("e\u0301", 1), ("", 0)])
def test_width(text: str, columns: int) -> None:
    assert width(text) == columns
    assert width(pad(text, 9)) == 9


def test_what_would_mislead_is_shown_or_dropped() -> None:
    assert visible("a\nb\x1b[31m") == "a\ufffdb\ufffd[31m"
    assert visible("exe.\u202egpj") == "exe.gpj"
    assert visible("a\u3000b\udc80") == "a b\ufffd"
