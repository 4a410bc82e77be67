import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoebox.base.errors import UsageError
from shoebox.base.recipe import SHIPPED, Recipe, parse_settings

SINGLE = sorted(p.stem for p in SHIPPED.glob("*.yaml") if "steps:" not in p.read_text())


@pytest.mark.parametrize("name", SINGLE)
def test_shipped_recipes_say_their_command_and_come_back_from_yaml(name, tmp_path):
    recipe = Recipe.load(name)
    assert "shoebox " in recipe.about
    (tmp_path / "copy.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    assert Recipe.load(tmp_path / "copy.yaml") == recipe


@given(
    st.floats(1e-6, 10), st.integers(1, 1000), st.lists(st.sampled_from(["flip", "translate(pixels=2)"]), max_size=3)
)
def test_any_recipe_comes_back_from_yaml(lr, epochs, augment):
    import yaml

    recipe = Recipe(lr=lr, epochs=epochs, augment=tuple(augment))
    assert Recipe.parse(yaml.safe_load(recipe.to_yaml())) == recipe


def test_unknown_setting_is_named_with_the_choices():
    with pytest.raises(UsageError, match="unknown setting 'learning_rate': choose from about, model"):
        Recipe().override({"learning_rate": 1})


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"lr": -1}, "lr"),
        ({"epochs": 0}, "epochs"),
        ({"monitor": "luck"}, "monitor"),
        ({"keep": 1}, "keep"),
        ({"trainable": 0}, "trainable"),
        ({"minutes": float("nan")}, "minutes"),
        ({"seed": -1}, "seed"),
    ],
)
def test_values_out_of_range_are_named(settings, field):
    with pytest.raises(UsageError, match=field):
        Recipe().override(settings)


def test_settings_are_read_as_yaml():
    assert parse_settings(["lr=0.1", "augment=[flip]", "patience=null"]) == {
        "lr": 0.1,
        "augment": ["flip"],
        "patience": None,
    }
    with pytest.raises(UsageError, match="expected key=value"):
        parse_settings(["lr"])


def test_a_missing_recipe_lists_the_shipped_ones():
    with pytest.raises(UsageError, match="fast"):
        Recipe.load("quick")


def test_a_recipe_that_is_no_mapping_is_refused(tmp_path):
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(UsageError, match="not a list"):
        Recipe.load(tmp_path / "list.yaml")


def test_a_ladder_is_not_a_recipe():
    with pytest.raises(UsageError, match="shoebox ladder"):
        Recipe.load("cifar-ladder")
