import pytest

from shoebox.base.recipe import Recipe
from shoebox.data.pack import pack
from shoebox.data.sources import open_source
from shoebox.data.split import split
from shoebox.training.planner import plan


@pytest.fixture
def small():
    """A recipe that trains in a second: dropout and augmentation included, so that resuming has draws to repeat."""
    return Recipe(
        model="simple(width=8, hidden=16)",
        size=16,
        epochs=3,
        batch_size=8,
        optimizer="adam",
        lr=0.003,
        augment=("flip", "translate(pixels=1)"),
        precision="fp32",
        tensorboard=False,
    )


@pytest.fixture
def packed_plan(tmp_path, make_folder):
    """A plan for a minute, and the pack of what it is for: 60 pictures of two classes."""
    index = split(open_source(make_folder(tmp_path / "data", {"cat": 30, "dog": 30}, size=(32, 32))))
    made = plan(Recipe(minutes=1), index)
    return made, pack(index, made.preprocess)
