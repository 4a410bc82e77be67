"""Stages found in other people's networks."""

import pytest
import torch
from torch import nn

from shoebox.models.architectures import detach_classifier, plain_model
from shoebox.models.stages import stage_list


@pytest.mark.parametrize(
    ("source", "name", "expected"),
    [
        ("torchvision", "resnet18", ["conv1", "layer1", "layer2", "layer3", "layer4"]),
        ("torchvision", "convnext_tiny", [f"features.{i}" for i in range(8)]),
        ("torchvision", "regnet_y_400mf", ["stem", *(f"trunk_output.block{i}" for i in range(1, 5))]),
        ("timm", "resnet18", ["conv1", "layer1", "layer2", "layer3", "layer4"]),
        ("timm", "efficientnet_b0", ["conv_stem", *(f"blocks.{i}" for i in range(7)), "conv_head"]),
        ("timm", "convnext_atto", ["stem", *(f"stages.{i}" for i in range(4))]),
        ("timm", "vit_tiny_patch16_224", ["patch_embed", *(f"blocks.{i}" for i in range(12))]),
    ],
)
def test_stages_are_the_ones_people_speak_of(source: str, name: str, expected: list[str]) -> None:
    model = plain_model(source, name, 2)
    detach_classifier(model)
    assert [stage for stage, _ in stage_list(model)] == expected


def test_loose_parameters_join_the_first_stage() -> None:
    model = plain_model("timm", "vit_tiny_patch16_224", 2)
    first = stage_list(model)[0][1]
    assert {id(model.cls_token), id(model.pos_embed)} <= {id(p) for p in first.parameters()}


def test_a_view_of_stages_changes_modes_of_the_real_layers() -> None:
    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.norm = nn.BatchNorm2d(4)
            self.rest = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.Dropout()) for _ in range(4)))

    body = Body()
    stages = stage_list(body)
    assert [name for name, _ in stages] == ["conv", "rest.0", "rest.1", "rest.2", "rest.3"]
    stages[0][1].eval()
    assert not body.norm.training and body.rest[0].training
    with torch.no_grad():
        next(iter(stages[0][1].parameters())).zero_()
    assert not body.conv.weight.any()
