"""Weight files: matched strictly, recognised, and refused when hostile."""

import copy
import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.models import build_model, build_pretrained, guess_architecture
from shoebox.models.architectures import plain_model
from shoebox.models.weights import convert_pickle, load_weights, read_weights

PICTURES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def with_seen_pictures(model: nn.Module) -> nn.Module:
    """Give the batch norms statistics of their own, so that a mixed-up one shows."""
    model.train()
    with torch.no_grad():
        model(torch.randn(4, 3, 64, 64))
    return model.eval()


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model.eval()(PICTURES)
    return result


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    torch.manual_seed(0)
    model = with_seen_pictures(plain_model("torchvision", "mobilenet_v2", 9))
    path = tmp_path_factory.mktemp("weights") / "some_file.safetensors"
    save_file(model.state_dict(), path, {"arch": "torchvision.mobilenet_v2"})
    return path, model


def test_a_head_of_as_many_classes_is_kept(mobilenet: tuple[Path, nn.Module]) -> None:
    path, model = mobilenet
    network = build_pretrained("torchvision", "mobilenet_v2", 9, weights=path, size=64)
    assert torch.equal(logits(network), logits(model))


def test_a_head_of_other_classes_is_left_out_and_reported(mobilenet: tuple[Path, nn.Module]) -> None:
    path, model = mobilenet
    network = build_pretrained("torchvision", "mobilenet_v2", 4, weights=path, size=64)
    assert "left out: classifier.1.bias, classifier.1.weight" in network.origin
    model = copy.deepcopy(model)
    model.classifier = nn.Identity()
    assert torch.equal(network.eval().features(PICTURES), logits(model))
    assert network.head.weight.abs().max() < 0.1 and not network.head.bias.any()


def test_torchvision_and_timm_exchange_weights(tmp_path: Path) -> None:
    """Safetensors files are sorted by name: the order of the layers comes from the architecture recognised."""
    theirs = with_seen_pictures(plain_model("torchvision", "mobilenet_v2", 9))
    save_file(theirs.state_dict(), tmp_path / "mobilenet_v2.safetensors")
    network = build_pretrained("timm", "mobilenetv2_100", 9, weights=tmp_path / "mobilenet_v2.safetensors", size=64)
    assert "by order and shape (as torchvision:mobilenet_v2)" in network.origin
    torch.testing.assert_close(logits(network), logits(theirs))

    back = with_seen_pictures(plain_model("timm", "mobilenetv2_100", 9))
    save_file(back.state_dict(), tmp_path / "mobilenetv2_100.safetensors")
    model = plain_model("torchvision", "mobilenet_v2", 3)
    loaded = load_weights(model, tmp_path / "mobilenetv2_100.safetensors")
    assert loaded.dropped == ("classifier.weight", "classifier.bias") and not loaded.head
    model.classifier, back.classifier = nn.Identity(), nn.Identity()
    torch.testing.assert_close(logits(model), logits(back))


def test_prefixes_are_stripped_on_both_sides(tmp_path: Path) -> None:
    network = with_seen_pictures(build_model("torchvision:mobilenet_v2", classes=3, size=64))
    bare = {f"module.{name.removeprefix('body.')}": value for name, value in network.state_dict().items()}
    save_file(bare, tmp_path / "w.safetensors")
    other = build_model("torchvision:mobilenet_v2", classes=3, size=64)
    assert load_weights(other, tmp_path / "w.safetensors").how == "by name without prefix"
    assert torch.equal(logits(other), logits(network))


def test_half_precision_becomes_the_networks(tmp_path: Path) -> None:
    network = build_model("simple", classes=3, size=32)
    save_file(
        {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()},
        tmp_path / "h.safetensors",
    )
    other = build_model("simple", classes=3, size=32)
    load_weights(other, tmp_path / "h.safetensors")
    assert other.head.weight.dtype == torch.float32
    torch.testing.assert_close(other.head.weight, network.head.weight, rtol=1e-3, atol=1e-4)


def test_a_file_that_does_not_fit_changes_nothing_and_says_why(
    mobilenet: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    network = build_model("simple", classes=3, size=32)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(UsageError, match=r"blocks\.0\.0\.weight is missing"):
        load_weights(network, mobilenet[0])
    wider = build_model("simple(hidden=64)", classes=3, size=32)
    save_file(wider.state_dict(), tmp_path / "wider.safetensors")
    with pytest.raises(UsageError, match=r"dense\.3\.weight is \(64, 2048\), expected \(128, 2048\)"):
        load_weights(network, tmp_path / "wider.safetensors")
    extra = {**network.state_dict(), "mystery.weight": torch.zeros(3)}
    save_file(extra, tmp_path / "extra.safetensors")
    with pytest.raises(UsageError, match=r"mystery\.weight is not of this network"):
        load_weights(network, tmp_path / "extra.safetensors")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_architectures_are_recognised(mobilenet: tuple[Path, nn.Module], tmp_path: Path) -> None:
    assert guess_architecture(mobilenet[0]) == "torchvision:mobilenet_v2"
    save_file(plain_model("torchvision", "squeezenet1_1", 5).state_dict(), tmp_path / "squeeze.safetensors")
    assert guess_architecture(tmp_path / "squeeze.safetensors").startswith("torchvision:squeezenet")
    save_file(plain_model("timm", "convnext_atto", 5).state_dict(), tmp_path / "convnext_atto.safetensors")
    assert guess_architecture(tmp_path / "convnext_atto.safetensors") == "timm:convnext_atto"
    # A name that lies is not believed.
    save_file(load_file(tmp_path / "squeeze.safetensors"), tmp_path / "resnet18.safetensors")
    assert guess_architecture(tmp_path / "resnet18.safetensors").startswith("torchvision:squeezenet")


@pytest.mark.slow
def test_the_unrecognised_are_named(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="--model"):
        guess_architecture(tmp_path / "a.safetensors")


def header(content: object, length: int | None = None) -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


HOSTILE = {
    "empty": b"",
    "text": b"not a safetensors file at all",
    "huge header": header({}, 2**40),
    "overlapping tensors": header(
        {
            "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        }
    )
    + bytes(12),
    "outside the file": header({"a": {"dtype": "F32", "shape": [200], "data_offsets": [0, 800]}}) + bytes(8),
    "shape and size disagree": header({"a": {"dtype": "F32", "shape": [99], "data_offsets": [0, 8]}}) + bytes(8),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused(kind: str, tmp_path: Path) -> None:
    """Case 63 of the bad inputs."""
    path = tmp_path / "w.safetensors"
    path.write_bytes(HOSTILE[kind])
    with pytest.raises(ShoeboxError, match=r"w\.safetensors cannot be read"):
        read_weights(path)


def test_pickles_are_refused_and_can_be_converted_on_request(tmp_path: Path) -> None:
    network = build_model("simple", classes=3, size=32)
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(UsageError, match="shoebox import-weights"):
        load_weights(network, tmp_path / "w.pth")
    other = build_model("simple", classes=3, size=32)
    load_weights(other, convert_pickle(tmp_path / "w.pth", tmp_path / "w.safetensors"))
    assert torch.equal(other.head.weight, network.head.weight)
    with pytest.raises(UsageError, match="there already"):
        convert_pickle(tmp_path / "w.pth", tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="no such weights file"):
        convert_pickle(tmp_path / "none.pth", tmp_path / "none.safetensors")


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("open('/tmp/shoebox-was-here', 'w')",)


def test_converting_runs_no_code(tmp_path: Path) -> None:
    """Case 62 of the bad inputs."""
    torch.save({"state_dict": {"a": torch.zeros(1)}, "bomb": Bomb()}, tmp_path / "w.pth")
    with pytest.raises(ShoeboxError, match="more than weights"):
        convert_pickle(tmp_path / "w.pth", tmp_path / "w.safetensors")
    assert not (tmp_path / "w.safetensors").exists()
    assert not Path("/tmp/shoebox-was-here").exists()
