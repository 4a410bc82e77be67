import numpy as np
import pytest
import torch

from shoebox.base.errors import UsageError
from shoebox.data.pack import pack
from shoebox.data.preprocess import Preprocess
from shoebox.data.sources import open_source
from shoebox.evaluation.robustness import CORRUPTIONS, SEVERITIES, robustness


def smooth(count=4, side=48):
    """Pictures of waves, each channel its own."""
    x = torch.linspace(0, 25, side)
    waves = [(x[:, None] * (c + 1) / 2 + x * (i + 1) / 3).sin() for i in range(count) for c in range(3)]
    return (128 + 100 * torch.stack(waves)).to(torch.uint8).view(count, 3, side, side)


def apply(name, pictures, severity, seed=0):
    return CORRUPTIONS[name](pictures, severity, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_contract(name):
    pictures = smooth()
    before = pictures.clone()
    moved = []
    for severity in SEVERITIES:
        seen = apply(name, pictures, severity)
        assert seen.dtype == torch.uint8 and seen.shape == pictures.shape
        assert torch.equal(seen, apply(name, pictures, severity))
        moved.append((seen.float() - pictures.float()).abs().mean().item())
    assert torch.equal(pictures, before)
    assert moved[0] > 0
    assert moved == sorted(moved)
    assert CORRUPTIONS[name].__doc__
    assert apply(name, smooth(2, 1), 5).shape == (2, 3, 1, 1)


def test_what_corruptions_do_is_what_they_say():
    flat = torch.full((2, 3, 40, 40), 100, dtype=torch.uint8)
    assert apply("noise", flat, 2).float().std() == pytest.approx(255 * 0.08, rel=0.05)
    for name in ("blur", "rotation", "crop"):
        assert torch.equal(apply(name, flat, 5), flat)
    assert (apply("brighter", flat, 2) == 151).all()
    assert (apply("darker", flat, 5) == 0).all()
    point = torch.zeros((1, 3, 41, 41), dtype=torch.uint8)
    point[:, :, 20, 20] = 255
    spread = apply("blur", point, 5)[0, 0].double()
    where = torch.arange(41) - 20.0
    assert (spread.sum(0) @ where.double() ** 2 / spread.sum()).sqrt() == pytest.approx(41 * 0.06, rel=0.1)


def test_accuracy_under_each_corruption(tmp_path, make_folder):
    index = open_source(make_folder(tmp_path, {"bright": 30, "dark": 30}))
    packed = pack(index, Preprocess(16, 16, mean=(0, 0, 0), std=(1, 1, 1)))
    means = packed.gather(np.arange(60)).mean(axis=(1, 2, 3))
    low, high = np.sort([means[index.labels == k].mean() for k in (0, 1)])
    order = 1 if means[index.labels == 0].mean() < means[index.labels == 1].mean() else -1
    middle = (low + high) / 2

    def score(pictures):
        """Tells the classes apart by their brightness alone."""
        excess = (pictures.float().mean((1, 2, 3)) - middle) * order
        return torch.stack([-excess, excess], 1)

    found = robustness(score, packed, np.arange(60), severities=(1, 5))
    assert found[0].corruption == "none" and found[0].accuracy == 1
    by_name = {(one.corruption, one.severity): one for one in found}
    assert set(by_name) == {("none", 0)} | {(name, s) for name in CORRUPTIONS for s in (1, 5)}
    assert by_name["noise", 1].accuracy == 1
    assert by_name["brighter", 5].accuracy == by_name["darker", 5].accuracy == 0.5
    assert by_name["darker", 5].low < 0.5 < by_name["darker", 5].high
    assert found == robustness(score, packed, np.arange(60), severities=(1, 5))


def test_what_cannot_be_done_is_said(tmp_path, make_folder):
    packed = pack(open_source(make_folder(tmp_path, {"a": 2, "b": 2})), Preprocess(8, 8, mean=(0, 0, 0), std=(1, 1, 1)))
    for options in ({"names": ["fog"]}, {"severities": [6]}):
        with pytest.raises(UsageError):
            robustness(lambda x: x, packed, np.arange(4), **options)
    with pytest.raises(UsageError, match="no labelled"):
        robustness(lambda x: x, packed, np.arange(0))
