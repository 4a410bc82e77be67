import numpy as np
import pytest
import torch

from shoebox.base.recipe import Recipe
from shoebox.data.preprocess import Preprocess
from shoebox.data.sources import open_source
from shoebox.data.split import split
from shoebox.models import build_model
from shoebox.pipeline import Pipeline
from shoebox.training.planner import plan, usual_lr


def pictures(side: int = 20) -> torch.Tensor:
    made = np.random.default_rng(0).integers(0, 256, (3, 3, side, side), dtype=np.uint8)
    return torch.from_numpy(made)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_model("speednet(width=0.25)", classes=4, size=20).eval()


def test_a_mirrored_picture_gets_the_same_answer(network):
    plain, both = (Pipeline(network, Preprocess(20, 20, mirror=mirror)).eval() for mirror in (False, True))
    shown = pictures()
    with torch.inference_mode():
        assert not torch.allclose(plain(shown), plain(shown.flip(-1)))
        torch.testing.assert_close(both(shown), both(shown.flip(-1)))
        torch.testing.assert_close(both(shown), (plain(shown) + plain(shown.flip(-1))) / 2)


@pytest.mark.parametrize(
    ("settings", "mirror"),
    [({}, True), ({"augment": ["translate(pixels=1)"]}, False), ({"mirror": False}, False)],
)
def test_answers_are_mirrored_only_where_training_is(tmp_path, make_folder, settings, mirror):
    index = split(open_source(make_folder(tmp_path / "data", {"cat": 6, "dog": 6}, size=(20, 20))))
    assert plan(Recipe.load("fast").override(settings), index).preprocess.mirror is mirror


def test_mirrored_answers_are_part_of_the_saved_preprocessing():
    made = Preprocess(20, 20, mirror=True)
    assert Preprocess.from_dict(made.to_dict()) == made
    assert not Preprocess.from_dict({"store": 20, "size": 20}).mirror


def test_muons_rate_follows_the_batch_and_others_do_not():
    assert usual_lr("muon", 2000) == 0.24
    assert usual_lr("muon", 500) == 0.12
    assert usual_lr("adam", 500) == usual_lr("adam", 50)
