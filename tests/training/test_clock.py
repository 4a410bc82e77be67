import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoebox.training.clock import GROWN, FirstClock, UpdateClock, side_at


@given(st.integers(16, 512), st.floats(0.3, 1), st.floats(0, 1), st.floats(0, 1))
def test_pictures_only_ever_grow_and_end_whole(size, grow, one, other):
    early, late = sorted([one, other])
    assert 0 < side_at(early, size, grow) <= side_at(late, size, grow) <= size
    assert side_at(GROWN, size, grow) == side_at(1, size, grow) == size


def test_pictures_that_do_not_grow_have_their_whole_side_from_the_start():
    assert {side_at(share / 10, 31, 1.0) for share in range(11)} == {31}


@pytest.mark.parametrize(("progress", "side"), [(0, 16), (0.19, 16), (0.3, 24), (0.59, 24), (0.6, 32), (1, 32)])
def test_the_side_follows_progress(progress, side):
    assert side_at(progress, 32, 0.5) == side


def test_the_furthest_of_two_clocks_counts():
    assert FirstClock((UpdateClock(10), UpdateClock(20))).progress(5) == 0.5
