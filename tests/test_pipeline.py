import numpy as np
import pytest
import torch

from shoebox.base.recipe import Recipe
from shoebox.base.runtime import PLACES_AT_ONCE, at_once
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


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("side", [20, 64])
def test_a_shifted_answer_is_the_mean_over_a_picture_moved_both_ways(network, mirror, side):
    made = Preprocess(side, side, mirror=mirror, shift=True)
    plain, all_ = (Pipeline(network, p).eval() for p in (Preprocess(side, side, mirror=mirror), made))
    shown, step = pictures(side), {20: 1, 64: 2}[side]
    wide = torch.from_numpy(np.pad(shown.numpy(), ((0, 0), (0, 0), (step, step), (step, step)), mode="reflect"))
    looks = [shown, wide[:, :, :side, :side], wide[:, :, 2 * step :, 2 * step :]]
    with torch.inference_mode():
        torch.testing.assert_close(all_(shown), sum(plain(look.contiguous()) for look in looks) / 3)
    assert made.looks == (6 if mirror else 3)


@pytest.mark.parametrize(
    ("settings", "mirror", "shift"),
    [
        ({}, True, True),
        ({"augment": ["translate(pixels=1)"]}, False, True),
        ({"augment": ["flip"]}, True, False),
        ({"mirror": False, "shift": False}, False, False),
    ],
)
def test_answers_are_mirrored_and_shifted_only_where_training_is(tmp_path, make_folder, settings, mirror, shift):
    index = split(open_source(make_folder(tmp_path / "data", {"cat": 6, "dog": 6}, size=(20, 20))))
    made = plan(Recipe.load("fast").override(settings), index).preprocess
    assert (made.mirror, made.shift) == (mirror, shift)


def test_looks_are_part_of_the_saved_preprocessing():
    made = Preprocess(20, 20, mirror=True, shift=True)
    assert Preprocess.from_dict(made.to_dict()) == made
    assert Preprocess.from_dict({"store": 20, "size": 20}).looks == 1


def test_muons_rate_follows_the_batch_and_others_do_not():
    assert usual_lr("muon", 2000) == 0.24
    assert usual_lr("muon", 500) == 0.12
    assert usual_lr("adam", 500) == usual_lr("adam", 50)


@pytest.mark.parametrize(("side", "looks", "wanted"), [(20, 1, 625), (32, 6, 104), (64, 1, 244), (224, 2, 9)])
def test_a_network_from_scratch_looks_at_more_at_a_time_than_a_cache_holds(network, side, looks, wanted):
    pipeline = Pipeline(network, Preprocess(side, side))
    assert pipeline.at_once(looks) == wanted > at_once("cpu", side, looks)
    network.places_at_once = PLACES_AT_ONCE
    assert pipeline.at_once(looks) == at_once("cpu", side, looks) >= 8
