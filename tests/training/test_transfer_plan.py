"""What a fine-tuning is planned to do, from rates that are given here instead of measured."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from shoebox.base.recipe import Recipe
from shoebox.data.index import ImageIndex
from shoebox.training import probe_plan
from shoebox.training.boundary import Boundary, Crossing
from shoebox.training.probe_plan import affordable_size, probed_rows, usable_sides
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
    assert [wanted_passes(count, 4) for count in (10, 8_000, 10_000, 80_000)] == [5, 5, 4, 0.5]
    assert wanted_passes(80_000, 0) > wanted_passes(80_000, 4)


def test_a_probe_that_is_not_the_end_looks_at_some_of_a_large_training_part(monkeypatch):
    monkeypatch.setattr(probe_plan, "PROBED", 30)
    part = np.array(["train"] * 80 + ["val"] * 15 + ["test"] * 5)
    labels = np.where(np.arange(100) == 3, -1, np.arange(100) % 2)
    index = ImageIndex(Path(), tuple(f"{i}.png" for i in range(100)), labels, ("a", "b"), part)
    rows = probed_rows(index, Recipe())
    assert len(rows["train"]) == 30 and set(rows["train"]) <= set(range(80)) - {3}
    assert rows["val"].tolist() == list(range(80, 95))
    assert rows["train"].tolist() == probed_rows(index, Recipe())["train"].tolist()
    assert rows["train"].tolist() != probed_rows(index, Recipe(seed=1))["train"].tolist()
    for last in (Recipe(epochs=1), Recipe(trainable="head")):
        assert len(probed_rows(index, last)["train"]) == 79


def test_the_lines_say_what_and_why():
    tuning = most_passes(DEPTH, OPEN, 1000, 0, 100.0, 4, 1000)
    what, when = explained(tuning, 19, 100.0, 40, 4, None)
    assert "the top 15 of 19 stages at 500 pictures/s in fp32" in what and "as deep as 4 passes allow" in what
    assert "on time" in when
    assert "until 4 bring nothing better" in explained(tuning, 19, None, 12, 4, 4)[1]
    few = most_passes(DEPTH, OPEN, 1000, 0, 5.0, 4, 1000)
    assert "fewer" in explained(few, 19, 5.0, 40, 4, None)[0]
