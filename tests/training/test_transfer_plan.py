"""What a fine-tuning is planned to do, from rates that are given here instead of measured."""

import dataclasses

import pytest

from shoebox.base.recipe import Recipe
from shoebox.training.boundary import Boundary, Crossing
from shoebox.training.probe_plan import affordable_size, usable_sides
from shoebox.training.transfer_plan import VIEWS, Depth, explained, most_passes, wanted_passes

BOUNDARY = Boundary(4, (Crossing("body.layer1", (24, 16, 16)),), 64)
DEPTH = Depth(4, BOUNDARY, below=4000.0, rate=500.0, precision="fp32")
OPEN = Recipe()


def test_sizes_are_those_that_fit_in_the_time():
    assert usable_sides(224, 32) == [64, 96]
    assert usable_sides(224, 256)[-1] == 224
    assert usable_sides(64, 8) == [64], "the smallest there is, if all are too large"
    sides = usable_sides(224, 224)
    pixels = 100 * 224**2
    assert affordable_size(sides, pixels, 1_000, 10) == 224
    assert affordable_size(sides, pixels, 4_000, 10) == 96
    assert affordable_size(sides, pixels, 10**7, 10) == 64


def test_time_is_what_forward_below_and_training_above_cost():
    before, each = DEPTH.seconds(1000, 0, 0)
    assert (before, each) == (0, pytest.approx(1000 / 4000 + 1000 / 500))
    before, each = DEPTH.seconds(1000, 0, 2)
    assert (before, each) == (pytest.approx(2 * 1000 / 4000), pytest.approx(1000 / 500))
    whole = dataclasses.replace(DEPTH, boundary=None)
    assert whole.seconds(1000, 0, 0) == (0, pytest.approx(1000 / 500))
    assert whole.seconds(1000, 300, 0)[1] > whole.seconds(1000, 0, 0)[1]


def test_fresh_looks_in_every_pass_where_time_allows_else_kept_ones():
    ample = most_passes(DEPTH, OPEN, 1000, 0, 100.0, 4, 1000)
    assert (ample.views, ample.passes > 4) == (0, True)
    # 4 passes of 2.25 s do not fit in 8.6 s; of 2 s they do, once a view or two are kept.
    scarce = most_passes(DEPTH, OPEN, 1000, 0, 8.6, 4, 1000)
    assert 1 <= scarce.views <= VIEWS and scarce.passes >= 4
    asked = most_passes(DEPTH, OPEN.override({"views": 3}), 1000, 0, 100.0, 4, 1000)
    assert asked.views == 3
    assert most_passes(DEPTH, OPEN, 1000, 0, 0.0, 4, 1000).passes == 0


def test_views_that_the_disk_has_no_room_for_are_not_kept(monkeypatch):
    monkeypatch.setattr("shoebox.training.transfer_plan.room", lambda folder: 1_000_000)
    assert most_passes(DEPTH, OPEN, 1000, 0, 8.6, 4, 1000).views == 0


def test_of_a_large_set_fewer_passes_are_wanted():
    assert [wanted_passes(count) for count in (10, 9_469, 45_000, 10**7)] == [5, 5, 3, 2]


def test_the_lines_say_what_and_why():
    tuning = most_passes(DEPTH, OPEN, 1000, 0, 100.0, 4, 1000)
    what, when = explained(tuning, 19, 100.0, 40, 4, None)
    assert "the top 15 of 19 stages at 500 pictures/s in fp32" in what and "as deep as 4 passes allow" in what
    assert "on time" in when
    assert "until 4 bring nothing better" in explained(tuning, 19, None, 12, 4, 4)[1]
    few = most_passes(DEPTH, OPEN, 1000, 0, 5.0, 4, 1000)
    assert "fewer" in explained(few, 19, 5.0, 40, 4, None)[0]
