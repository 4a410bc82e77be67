import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoebox.training.clock import COST, GROWN, FirstClock, UpdateClock, side_at, updates_done


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


@given(st.floats(0.3, 1), st.floats(0, 1), st.floats(0, 1))
def test_updates_never_fall_behind_time_nor_run_back(grow, one, other):
    early, late = sorted([one, other])
    assert updates_done(early, grow) <= updates_done(late, grow)
    assert early - 1e-9 <= updates_done(early, grow) <= 1
    assert updates_done(0, grow) == 0
    assert updates_done(1, grow) == 1


def test_updates_are_even_where_pictures_do_not_grow():
    assert [updates_done(share / 10, 1.0) for share in range(11)] == pytest.approx([share / 10 for share in range(11)])


def test_as_many_updates_are_of_whole_pictures_as_of_the_training_counted_in_updates():
    """Steps that take what their side says, until the time is up."""
    sides, used, total = [], 0.0, 1000.0
    while used < total:
        sides.append(side_at(updates_done(used / total, 0.5), 32, 0.5))
        used += (sides[-1] / 32) ** COST
    assert sides.count(16) / len(sides) == pytest.approx(GROWN / 3, abs=0.01)
    assert sides.count(32) / len(sides) == pytest.approx(1 - GROWN, abs=0.01)


def test_the_furthest_of_two_clocks_counts():
    assert FirstClock((UpdateClock(10), UpdateClock(20))).progress(5) == 0.5
