"""Backbones of timm, torchvision and Transformers, built with random weights, keep the contract of every network."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from shoebox.base.errors import MissingExtra, UsageError
from shoebox.models import Network, Pretrained, build_model, build_pretrained, expected_input, freeze, set_training
from shoebox.models.architectures import import_transformers, plain_model

Check = Callable[[Network, int, int], None]
SPREAD = [
    ("timm:resnet18", 64),
    ("mobilenetv3_small_050", 64),
    ("efficientnet_b0(drop_rate=0.2)", 64),
    ("convnext_atto", 64),
    ("vit_tiny_patch16_224", 64),
    ("torchvision:squeezenet1_1", 64),
    ("torchvision:mobilenet_v3_small", 64),
    ("torchvision:vit_b_32", 64),
    pytest.param("swin_tiny_patch4_window7_224", 112, marks=pytest.mark.slow),
    pytest.param("inception_resnet_v2", 96, marks=pytest.mark.slow),
    pytest.param("deit_tiny_distilled_patch16_224", 96, marks=pytest.mark.slow),
    pytest.param("torchvision:inception_v3", 96, marks=pytest.mark.slow),
    pytest.param("torchvision:densenet121", 64, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("spec", "size"), SPREAD)
def test_backbones_keep_the_contract(spec: str, size: int, check_contract: Check) -> None:
    torch.manual_seed(0)
    network = build_model(spec, classes=3, size=size)
    assert isinstance(network, Pretrained)
    check_contract(network, 3, size)
    twin = build_model(network.spec, classes=3, size=size)
    twin.load_state_dict(network.state_dict())


def test_a_frozen_backbone_does_not_move() -> None:
    network = build_model("timm:mobilenetv3_small_050", classes=3, size=64)
    freeze(network, "head")
    before = network.state_dict()["body.blocks.2.0.bn1.running_mean"].clone()
    set_training(network)
    pictures = torch.randn(4, 3, 64, 64)
    assert torch.equal(network.features(pictures), network.features(pictures))
    assert torch.equal(network.state_dict()["body.blocks.2.0.bn1.running_mean"], before)


@pytest.mark.parametrize(
    ("spec", "size", "message"),
    [
        ("vit_tiny_patch16_224", 50, "patches have 16 px"),
        ("torchvision:vit_b_32", 50, "patches have 32 px"),
        ("torchvision:alexnet", 32, "made for 224 px"),
        ("timm:resnet18(depth=3)", 64, "drop_path_rate, drop_rate"),
        ("torchvision:resnet18(depth=3)", 64, "options are none"),
        ("torchvision:resnet1", 64, "no network is called"),
    ],
)
def test_what_cannot_work_is_refused(spec: str, size: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_model(spec, classes=3, size=size)


def test_expected_input_is_the_weights_own() -> None:
    assert expected_input("torchvision", "mobilenet_v2") == (
        224,
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        "bilinear",
    )
    assert expected_input("timm", "vit_tiny_patch16_224") == (224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
    assert expected_input("timm", "inception_resnet_v2").size == 299
    with pytest.raises(UsageError, match="no network called"):
        expected_input("torchvision", "resnet1")


def test_published_timm_weights_load_through_timm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path after a download, with the file already here: every weight arrives, the head is fresh, ViTs resize."""
    trained = plain_model("timm", "vit_tiny_patch16_224", 1000).eval()
    save_file(trained.state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr("shoebox.models.pretrained.fetch_weights", lambda *_: tmp_path / "model.safetensors")
    network = build_pretrained("timm", "vit_tiny_patch16_224", 3)
    pictures = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(
            network.eval().features(pictures), trained.forward_head(trained.forward_features(pictures), pre_logits=True)
        )
    assert network.head.weight.shape == (3, 192)
    small = build_pretrained("timm", "vit_tiny_patch16_224", 3, size=96).eval()
    assert small(torch.randn(1, 3, 96, 96)).shape == (1, 3)
    assert torch.equal(
        small.state_dict()["body.blocks.3.attn.qkv.weight"], trained.state_dict()["blocks.3.attn.qkv.weight"]
    )


def test_published_torchvision_weights_are_read_as_tensors_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = plain_model("torchvision", "mobilenet_v3_small", 1000).eval()
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    monkeypatch.setattr("shoebox.models.pretrained.fetch_weights", lambda *_: tmp_path / "w.pth")
    network = build_pretrained("torchvision", "mobilenet_v3_small", 3)
    assert torch.equal(
        network.state_dict()["body.features.1.block.0.0.weight"], trained.state_dict()["features.1.block.0.0.weight"]
    )


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"shoebox-classifier\[hf\]"):
        import_transformers()


@pytest.mark.slow
def test_transformers_classifiers_keep_the_contract(tmp_path: Path, check_contract: Check) -> None:
    pytest.importorskip("transformers", exc_type=ImportError)
    transformers = import_transformers()
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=4, num_attention_heads=2, intermediate_size=48, image_size=64, num_labels=7
    )
    trained = transformers.AutoModelForImageClassification.from_config(config).eval()
    trained.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"size": {"height": 64, "width": 64}, "resample": 2}')
    assert expected_input("hf", str(tmp_path)) == (64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")
    pictures = torch.randn(2, 3, 64, 64)
    kept = build_pretrained("hf", str(tmp_path), 7, weights=tmp_path / "model.safetensors").eval()
    assert torch.equal(kept(pictures), trained(pictures).logits)
    network = build_pretrained("hf", str(tmp_path), 3)
    check_contract(network, 3, 64)
    assert isinstance(network, Pretrained)
    (tmp_path / "config.json").unlink()
    twin = build_model(network.spec, classes=3, size=64).eval()
    twin.load_state_dict(network.state_dict())
    assert torch.equal(twin(pictures), network.eval()(pictures))
