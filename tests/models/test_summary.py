"""The layer table and the list of networks."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from shoebox.models import MODELS, PRETRAINED, build_model, describe_models
from shoebox.models.architectures import find_architecture, import_timm, plain_model
from shoebox.models.summary import summary


def test_rows_are_right_on_a_network_counted_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(128, 10)
    )
    made = summary(network, 4)
    assert [(r.name, r.kind, r.shape, r.parameters, r.multiply_adds) for r in made.rows] == [
        ("0", "Conv2d", (8, 4, 4), 216, 216 * 16),
        ("1", "BatchNorm2d", (8, 4, 4), 16, 0),
        ("2", "Flatten", (128,), 0, 0),
        ("3", "Linear", (10,), 1290, 1280),
    ]
    assert (made.parameters, made.trainable, made.multiply_adds) == (1522, 1522, 216 * 16 + 1280)
    assert str(made).splitlines()[-1].split() == ["total", "1,522", "4,736"]


def test_rows_add_up_and_modes_stay() -> None:
    network = build_model("vit_tiny_patch16_224", classes=3, size=64)
    network.stages()[0][1].eval()
    modes = [m.training for m in network.modules()]
    made = summary(network, 64)
    assert [m.training for m in network.modules()] == modes
    assert sum(r.parameters for r in made.rows) == made.parameters == sum(p.numel() for p in network.parameters())
    assert sum(r.multiply_adds for r in made.rows) == made.multiply_adds
    # Attention itself, beside its linear layers: two products of (positions × width × positions) in each block.
    linear = sum(r.multiply_adds for r in made.rows if r.kind in ("Linear", "Conv2d"))
    assert made.multiply_adds - linear == 12 * 2 * 17 * 192 * 17


def test_a_cpu_counts_what_no_device_does() -> None:
    # At 64 px one picture is enough for Shoebox's own convolutions, which torch would not see.
    with torch.device("meta"):
        nowhere = build_model("vgg(blocks=2)", classes=2, size=64)
    assert summary(build_model("vgg(blocks=2)", classes=2, size=64), 64).rows == summary(nowhere, 64).rows


def test_every_network_is_described() -> None:
    rows = describe_models()
    assert [row.name for row in rows] == list(MODELS)
    assert all(row.about.endswith(".") and row.parameters and row.gflops for row in rows)
    # He et al. count 1.8 × 10⁹ multiply-adds for ResNet-18 at 224 px.
    large = {row.name: row for row in describe_models(1000, 224)}["resnet18"]
    assert large.parameters == 11_689_512 and large.gflops == pytest.approx(3.6, abs=0.05)


@pytest.mark.parametrize("backbone", [PRETRAINED[0], PRETRAINED[4], PRETRAINED[5]], ids=lambda b: b.name)
def test_the_list_of_backbones_is_true(backbone) -> None:
    found = find_architecture(backbone.name)
    assert found is not None
    with torch.device("meta"):
        made = summary(plain_model(*found, 1000), backbone.size)
    assert round(made.parameters / 1e6, 2) == backbone.parameters
    assert round(made.multiply_adds / 1e9, 2) == backbone.gmacs
    assert import_timm().models.get_pretrained_cfg(found[1]).license == backbone.licence


def test_importing_the_room_imports_neither_timm_nor_torchvision() -> None:
    code = "import sys, shoebox.models; sys.exit(bool({'timm', 'torchvision', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
