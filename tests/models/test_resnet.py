"""ResNets: torchvision's layers and names, and another stem for small pictures."""

import torch

from shoebox.base.torchvision import import_torchvision
from shoebox.models import build_model
from shoebox.models.weights import load_weights


def test_small_pictures_get_a_stem_that_keeps_their_size() -> None:
    small = build_model("resnet18", classes=10, size=64)
    large = build_model("resnet18", classes=10, size=65)
    assert small.state_dict()["conv1.weight"].shape == (64, 3, 3, 3)
    assert large.state_dict()["conv1.weight"].shape == (64, 3, 7, 7)


def test_torchvisions_weights_give_torchvisions_features(tmp_path) -> None:
    from safetensors.torch import save_file

    theirs = import_torchvision().models.resnet18(weights=None, num_classes=7).eval()
    save_file(theirs.state_dict(), tmp_path / "resnet18.safetensors")
    ours = build_model("resnet18", classes=7, size=96).eval()
    loaded = load_weights(ours, tmp_path / "resnet18.safetensors")
    assert loaded.head and loaded.how == "by name"
    pictures = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours(pictures), theirs(pictures))
