"""Training on a GPU, where there is one; a step on one that only seems to be there, where torch was built for GPUs."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from shoebox.base.progress import QUIET, Quiet
from shoebox.base.recipe import Recipe
from shoebox.base.replay import Recording, Replay
from shoebox.base.runtime import Runtime
from shoebox.classifier import Classifier
from shoebox.data.batches import Resident, batches
from shoebox.data.pack import pack
from shoebox.data.sources import open_source
from shoebox.data.split import split
from shoebox.models import build_model
from shoebox.pipeline import Pipeline
from shoebox.training import loop, session
from shoebox.training.fit import fit
from shoebox.training.planner import plan
from shoebox.training.session import assemble

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture
def index(tmp_path, make_folder):
    return open_source(make_folder(tmp_path / "data", {"cat": 200, "dog": 200}, size=(32, 32)))


@pytest.fixture
def recipe() -> Recipe:
    return Recipe.load("fast").override({"model": "speednet(width=0.25)", "epochs": 6, "batch_size": 32})


@needs_gpu
def test_speednet_learns_on_a_gpu_and_answers_alike_on_a_cpu(tmp_path, index, recipe):
    _, packed = fit(index, recipe, tmp_path / "run", device="cuda")
    rows = np.arange(len(packed))
    here, there = (Classifier.load(tmp_path / "run", device).score(packed, rows) for device in ("cpu", "cuda"))
    assert (there.logits.argmax(1) == there.labels).mean() > 0.95
    assert (here.logits.argmax(1) == there.logits.argmax(1)).mean() > 0.99


@needs_gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_a_step_does_not_wait_for_the_gpu(tmp_path, index, recipe, monkeypatch):
    update, first, residents = loop.update, Replay._first, []

    def watched(session, batch):
        residents.append(isinstance(session.packed, Resident))
        torch.cuda.set_sync_debug_mode("error" if len(residents) > 3 else "default")
        try:
            update(session, batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    def unwatched(*given):
        torch.cuda.set_sync_debug_mode("default")  # it compares, and so has to wait
        return first(*given)

    monkeypatch.setattr(loop, "update", watched)
    monkeypatch.setattr(Replay, "_first", unwatched)
    fit(index, recipe, tmp_path / "run", device="cuda")
    assert len(residents) > 3 and all(residents)


@needs_gpu
@pytest.mark.parametrize(
    "options",
    [
        {"grow": 0.5, "precision": "fp32"},
        {"grow": 0.5},
        {"model": "speednet(width=0.25, depth=3, members=2)", "epochs": 6},
        {"model": "vgg(blocks=2, dropout=0.3)", "optimizer": "adamw", "clip": 1.0, "ema": 0.9},
    ],
)
def test_steps_that_a_gpu_replays_are_the_steps(tmp_path, index, recipe, monkeypatch, options):
    """The same losses, within what sums in another order make of them in a few dozen steps; and it is replayed."""
    lines, starts, run = [], [], Recording.run

    def counted(*given):
        starts.append(1)
        return run(*given)

    class Heard(Quiet):
        def say(self, text):
            lines.append(text)

    def losses(name):
        rows = []
        given = recipe.override({"epochs": 2, **options})
        fit(index, given, tmp_path / name, device="cuda", progress=Heard(), on_epoch=rows.append)
        return [row["train_loss"] for row in rows]

    monkeypatch.setattr(Recording, "run", counted)
    replayed = losses("replayed")
    assert len(starts) > 5
    assert not [line for line in lines if "CUDA graph" in line]
    monkeypatch.setattr(session, "graphs_for", lambda device, progress: None)
    assert losses("plain") == pytest.approx(replayed, rel=0.05)


STEPS = [
    {},
    {"model": "speednet(width=0.25, depth=3, members=2)", "grow": 0.5, "class_weights": "balanced", "accumulate": 2},
    {"model": "vgg(blocks=2)", "optimizer": "adamw", "augment": ["random_resized_crop", "cutmix"], "clip": 1.0},
]


class OnTheCpu(torch.Generator):
    """A generator for a device that is not there: of tensors without contents no number is drawn."""

    def __new__(cls, device: str) -> "OnTheCpu":
        return super().__new__(cls)


@pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="needs a torch that knows GPUs")
@pytest.mark.parametrize("options", STEPS)
def test_a_step_stays_on_its_device(tmp_path, index, recipe, monkeypatch, options):
    """Tensors without contents stand in for a GPU's: to mix them with the CPU's, or to read one back, raises.

    Backward passes are left out, for which torch's engine asks the device itself; the optimizer gets some gradients.
    """
    parted = split(index)
    made = plan(recipe.override(options), parted)
    packed = pack(parted, made.preprocess, cache=tmp_path)
    losses = []

    def backward(loss: Tensor) -> None:
        losses.append(loss)
        for parameter in opened.network.parameters():
            parameter.grad = torch.empty_like(parameter) if parameter.requires_grad else None

    monkeypatch.setattr(Tensor, "backward", backward)
    monkeypatch.setattr(torch, "Generator", OnTheCpu)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1 << 30, 1 << 30))
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # nothing can be recorded
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        with torch.device("cuda"):
            network = build_model(made.recipe.model, classes=2, size=made.preprocess.size)
            pipeline = Pipeline(network, made.preprocess)
        runtime = Runtime("cuda", "bf16", "as if it were there")
        opened = assemble(made, runtime, pipeline, packed, tmp_path / "run", QUIET)
        rows = opened.training_rows(0)
        for batch in batches(opened.packed, rows, batch_size=opened.batch_size, device="cuda", drop_last=True):
            loop.update(opened, batch)
            opened.state.step, opened.state.updates = opened.state.step + 1, opened.state.updates + 1
    assert isinstance(opened.packed, Resident)
    assert len(losses) == opened.steps > 3
    assert {loss.device.type for loss in losses} == {"cuda"}
