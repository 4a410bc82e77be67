"""Weights on this disk and the lack of a network: never a hang, always a way on."""

import json
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from shoebox.base.errors import ShoeboxError
from shoebox.models import Pretrained, build_model, build_pretrained, expected_input, hub, on_disk
from shoebox.models.architectures import plain_model
from shoebox.models.backbones import list_backbones

NAMES = ["timm:resnet18.a1_in1k", "torchvision:resnet18", "hf:microsoft/resnet-18", "hf_hub:timm/resnet18.a1_in1k"]


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["offline", "unreachable"])
def test_without_a_network_one_line_names_the_alternatives(
    name: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "offline":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    else:
        monkeypatch.delenv("HF_HUB_OFFLINE")
        # Nothing listens on the discard port of this machine.
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setattr(hub, "_torchvision_url", lambda _: "http://127.0.0.1:9/resnet18-f37072fd.pth")
    source, _, own = name.partition(":")
    began = time.monotonic()
    with pytest.raises(ShoeboxError, match=r"--weights FILE\.safetensors.*--model speednet") as caught:
        build_pretrained(source, own, 2)
    assert time.monotonic() - began < 8
    assert "\n" not in str(caught.value)


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up, answered = threading.Event(), []

    def stall(*_: object, **__: object) -> None:
        answered.append(given_up.wait(60))
        raise OSError("timed out")

    monkeypatch.setattr(hub, "PATIENCE", 0.2)
    monkeypatch.setattr(hub.urllib.request, "urlopen", stall)
    assert not hub._answers("http://example.org")
    assert not answered, "given up while the server was still silent"
    given_up.set()


def test_what_is_on_disk_is_found_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_answers", lambda _: pytest.fail("asked the network"))
    assert (
        not on_disk("torchvision:resnet18") and not on_disk("resnet18.a1_in1k") and not on_disk("nothing_of_the_kind")
    )
    weights = tmp_path / "torch/hub/checkpoints/resnet18-f37072fd.pth"
    weights.parent.mkdir(parents=True)
    weights.touch()
    assert on_disk("torchvision:resnet18")
    assert hub.fetch_weights("torchvision", "resnet18", download=False) == weights
    snapshot = tmp_path / "hf/models--timm--resnet18.a1_in1k/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    (tmp_path / "hf/models--timm--resnet18.a1_in1k/refs").mkdir()
    (tmp_path / "hf/models--timm--resnet18.a1_in1k/refs/main").write_text("abc")
    assert on_disk("timm:resnet18.a1_in1k")
    with pytest.raises(ShoeboxError, match="downloads are off"):
        hub.fetch_weights("timm", "resnet34.a1_in1k", download=False)


def test_the_list_says_what_is_on_disk_and_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_answers", lambda _: pytest.fail("asked the network"))
    snapshot = tmp_path / "hf/models--timm--resnet18.a1_in1k/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    (tmp_path / "hf/models--timm--resnet18.a1_in1k/refs").mkdir()
    (tmp_path / "hf/models--timm--resnet18.a1_in1k/refs/main").write_text("abc")
    rows = list_backbones()
    assert [row.name for row in rows if row.on_disk] == ["timm:resnet18.a1_in1k"]
    assert [row.gmacs for row in rows] == sorted(row.gmacs for row in rows)
    assert all(row.licence for row in rows) and len(rows) >= 12


def test_a_repository_of_timm_says_itself_what_it_holds(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained = plain_model("timm", "test_resnet", 3).eval()
    save_file({k: v.clone() for k, v in trained.state_dict().items()}, tmp_path / "model.safetensors")
    config = {"architecture": "test_resnet", "pretrained_cfg": {"input_size": [3, 48, 48], "mean": [0.5] * 3}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    spec = f"hf_hub:{tmp_path}"
    assert expected_input("hf_hub", str(tmp_path))[:2] == (48, (0.5, 0.5, 0.5))
    network = build_pretrained("hf_hub", str(tmp_path), 3).eval()
    pictures = torch.randn(2, 3, 48, 48)
    assert torch.equal(network(pictures), trained(pictures)), "a head of as many classes is kept"
    assert isinstance(network, Pretrained) and network.spec == "timm:test_resnet", "complete without the repository"
    assert build_model(spec, classes=2, size=48)(pictures).shape == (2, 2)
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "no_such"}))
    with pytest.raises(ShoeboxError, match="describes no network of timm"):
        build_model(spec, classes=2, size=48)
    with pytest.raises(ShoeboxError, match=r"config\.json is not on this disk"):
        build_model("hf_hub:nobody/nothing", classes=2, size=48)
