import dataclasses
import itertools
import time

import numpy as np
import pytest

from shoebox.base.progress import QUIET
from shoebox.base.recipe import Recipe
from shoebox.base.runtime import Runtime
from shoebox.data.sources import open_source
from shoebox.training import budget, pace
from shoebox.training.fit import fit
from shoebox.training.planner import plan


@pytest.mark.parametrize(
    ("rate", "few", "options"),
    [
        (1e6, 10, "width=2.0, depth=3, members=4"),
        (1e6, 1000, "width=0.875, members=2"),
        (55.0, 10, "width=0.875, members=4"),
        (35.0, 10, "width=0.875, members=3"),
        (25.0, 10, "width=0.875, members=2"),
        (18.0, 10, "width=0.875, depth=3"),
        (1e-3, 10, "width=0.25"),
    ],
)
def test_width_and_members_follow_the_speed_of_the_machine_and_the_pictures(
    packed_plan, monkeypatch, rate, few, options
):
    made, packed = packed_plan
    monkeypatch.setattr(budget, "training_rate", lambda *_: rate)
    monkeypatch.setattr(budget, "FEW", few)
    fitted = budget.fit_to_time(made, packed, Runtime("cpu", "fp32", ""), 60, QUIET)
    assert fitted.recipe.model == f"speednet({options})"
    assert fitted.recipe.grow == budget.GROW


@pytest.mark.parametrize("settings", [{"patience": 3}, {"schedule": "plateau(patience=2)"}])
def test_networks_that_validations_end_train_alone(packed_plan, monkeypatch, settings):
    made, packed = packed_plan
    monkeypatch.setattr(budget, "training_rate", lambda *_: 1e6)
    judged = dataclasses.replace(made, recipe=made.recipe.override(settings))
    fitted = budget.fit_to_time(judged, packed, Runtime("cpu", "fp32", ""), 60, QUIET)
    assert fitted.recipe.model == "speednet(width=0.875, depth=3)"


def test_a_width_that_is_slower_than_its_multiply_adds_say_is_not_taken(packed_plan, monkeypatch):
    """Every width is as slow as the first here; the narrowest is taken only once none is enough."""
    made, packed = packed_plan
    asked = []
    monkeypatch.setattr(budget, "training_rate", lambda *given: asked.append((given[3].width, *given[4:])) or 2.0)
    fitted = budget.fit_to_time(made, packed, Runtime("cpu", "fp32", ""), 60, QUIET)
    assert asked[:2] == [(0.875, 16, pace.WARMING), (0.875, 32, budget.ROUGHLY)]
    assert asked[2:5] == [(0.75, 16, None), (0.75, 24, None), (0.75, 32, None)]  # the widest that there is hope for
    widths = [width for width, *_ in asked[5:]]
    assert widths == [0.5, 0.5, 0.375, 0.375, 0.25, 0.25, 0.25, 0.25]  # slower than expected, so once more
    assert fitted.recipe.model == "speednet(width=0.25)"


def test_a_network_far_narrower_than_the_last_that_was_measured_whole_is_so_itself(packed_plan, monkeypatch):
    """Every width is as slow as the first here, and each costs more than half of the one before."""
    made, packed = packed_plan
    asked = []
    monkeypatch.setattr(budget, "training_rate", lambda *given: asked.append((given[3].width, *given[4:])) or 2.4)
    fitted = budget.fit_to_time(made, packed, Runtime("cpu", "fp32", ""), 60, QUIET)
    assert asked[2:5] == [(0.75, 16, None), (0.75, 24, None), (0.75, 32, None)]
    assert fitted.recipe.model == "speednet(width=0.375)"
    assert (0.375, 16, None) in asked


def test_of_a_network_that_costs_nearly_as_much_as_the_last_the_rate_alone_is_measured(packed_plan, monkeypatch):
    """The widest there is hope for falls just short, so the next is taken."""
    made, packed = packed_plan
    asked = []

    def rate(*given):
        asked.append((given[3].width, *given[4:]))
        slowed = 1.2 if given[3].width > 0.7 else 1.0
        return 2.6 / pace.cost(given[3], 2, 32) * pace.cost(pace.Kind(1.0), 2, 32) / slowed

    monkeypatch.setattr(budget, "training_rate", rate)
    fitted = budget.fit_to_time(made, packed, Runtime("cpu", "fp32", ""), 60, QUIET)
    assert fitted.recipe.model == "speednet(width=0.625)"
    assert asked[2:] == [(0.75, 16, None), (0.75, 24, None), (0.75, 32, None), (0.625, 32, None)]


def test_minutes_that_pay_for_a_narrow_network_alone_are_not_spent_on_a_wide_one(packed_plan, monkeypatch):
    """A machine that is as slow as the multiply-adds say, of which 64 pictures tell half the truth."""
    made, packed = packed_plan
    asked = []

    def rate(*given):
        kind, few = given[3], given[5]
        asked.append(kind.width)
        return 0.44 / pace.cost(kind, 2, 32) * pace.cost(pace.Kind(1.0), 2, 32) * (0.5 if few else 1)

    monkeypatch.setattr(budget, "training_rate", rate)
    fitted = budget.fit_to_time(made, packed, Runtime("cpu", "fp32", ""), 60, QUIET)
    assert fitted.recipe.model == "speednet(width=0.25)"
    assert asked[:2] == [0.875] * 2
    assert max(asked[2:]) <= 0.375


def test_a_step_that_was_held_up_is_measured_again(packed_plan, monkeypatch):
    """Every third step takes five times as long."""
    made, packed = packed_plan
    steps = itertools.count()
    monkeypatch.setattr(budget, "training_rate", lambda *_: 18.0 if next(steps) % 3 else 3.6)
    fitted = budget.fit_to_time(made, packed, Runtime("cpu", "fp32", ""), 60, QUIET)
    assert fitted.recipe.model == "speednet(width=0.875, depth=3)"


def test_a_recipe_that_says_how_pictures_grow_is_followed(packed_plan, monkeypatch):
    made, packed = packed_plan
    monkeypatch.setattr(budget, "training_rate", lambda *_: 1.0)
    wanted = dataclasses.replace(made, recipe=made.recipe.override({"grow": 1.0}))
    assert budget.fit_to_time(wanted, packed, Runtime("cpu", "fp32", ""), 60, QUIET).recipe.grow == 1.0


@pytest.mark.parametrize("width", [2.0, 1.0, 0.5])
def test_where_the_passes_are_decided_the_widest_that_makes_them_in_time_is_taken(packed_plan, monkeypatch, width):
    """A machine that makes just over four passes in the minute at this width, and slower ones above it."""
    made, packed = packed_plan
    pictures = int((packed.index.part == "train").sum())

    def rate(*given):
        narrower = pace.cost(pace.Kind(width), 2, 32) / pace.cost(given[3], 2, 32)
        return 4.2 * pictures / 60 / gain * narrower * (32 / given[4]) ** 2

    gain = np.mean([(32 / budget.side_at(share, 32, budget.GROW)) ** 2 for share in np.linspace(0, 1, 100)])
    unscored = dataclasses.replace(packed.index, part=np.full(len(packed.index), "train"))
    monkeypatch.setattr(packed, "index", unscored.take(np.arange(pictures)))
    monkeypatch.setattr(budget, "training_rate", rate)
    fitted = budget.fit_to_time(made, packed, Runtime("cpu", "fp32", ""), 60, QUIET, decided=4)
    assert fitted.recipe.model == f"speednet(width={width})"


def test_scoring_has_its_time_before_a_width_is_chosen(packed_plan, monkeypatch):
    """1,080 pictures could be trained on in the minute; 12 are scored in six looks each, in no time or in 54 s."""
    made = plan(Recipe.load("fast").override({"minutes": 1}), packed_plan[1].index)
    monkeypatch.setattr(budget, "training_rate", lambda *_: 18.0)
    chosen = []
    for look in (1e9, 72 / 54):
        monkeypatch.setattr(budget, "looking_rate", lambda *_, look=look: look)
        fitted = budget.fit_to_time(made, packed_plan[1], Runtime("cpu", "fp32", ""), 60, QUIET)
        chosen.append(fitted.recipe.model)
    assert chosen == ["speednet(width=0.875, depth=3)", "speednet(width=0.25)"]


@pytest.mark.parametrize(("rate", "shift"), [(1e3, True), (0.5, False)])
def test_moved_looks_are_left_out_where_scoring_them_would_take_the_time_of_training(
    packed_plan, monkeypatch, rate, shift
):
    """12 pictures are scored, in six looks each: 0.04 s of the minute, or 72."""
    made = plan(Recipe.load("fast").override({"minutes": 1}), packed_plan[1].index)
    monkeypatch.setattr(budget, "training_rate", lambda *_: rate)
    monkeypatch.setattr(budget, "looking_rate", lambda *_: 2 * rate)
    fitted = budget.fit_to_time(made, packed_plan[1], Runtime("cpu", "fp32", ""), 60, QUIET)
    assert made.preprocess.shift
    assert (fitted.preprocess.shift, fitted.recipe.shift) == (shift, shift)


def test_a_resumed_run_keeps_the_width_it_began_with(tmp_path, make_folder, monkeypatch):
    index = open_source(make_folder(tmp_path / "data", {"cat": 30, "dog": 30}, size=(16, 16)))
    recipe = Recipe(minutes=0.05, tensorboard=False, precision="fp32")
    monkeypatch.setattr(budget, "training_rate", lambda *_: 1e-3)
    first, _ = fit(index, recipe, tmp_path / "run")
    assert first.model == "speednet(width=0.25)"
    monkeypatch.setattr(budget, "training_rate", lambda *_: 1e6)
    start = time.monotonic()
    resumed, _ = fit(index, recipe.override({"minutes": 0.1}), tmp_path / "run", resume=True)
    assert resumed.model == "speednet(width=0.25)"
    assert resumed.card["epochs"] > first.card["epochs"]
    assert time.monotonic() - start < 0.1 * 60
