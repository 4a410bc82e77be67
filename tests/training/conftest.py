import pytest

from shoebox.base.recipe import Recipe


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
