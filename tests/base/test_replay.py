"""Replayed steps against the steps themselves, on a CPU, where what is recorded runs again."""

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shoebox.base.progress import QUIET
from shoebox.base.replay import BEFORE, CudaGraphs, Graphs, Replay, alike, graphs_for, put

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Again:
    """Stands in for a GPU's graphs: what is recorded runs again, and leaves its numbers where they were first.

    Args:
        fault: what goes wrong, if anything does.
    """

    def __init__(self, module: nn.Module, fault: str = "") -> None:
        self.module, self.fault = module, fault
        self.recorded = self.started = 0

    def aside(self, work):
        with torch.random.fork_rng():
            result = work()
            if self.fault == "waits":
                raise RuntimeError("called a synchronizing CUDA operation")
            return result

    def record(self, work):
        self.recorded += 1
        parameters = list(self.module.parameters())
        before = [buffer.clone() for buffer in self.module.buffers()]
        with torch.random.fork_rng():
            result = work()
        put(before, list(self.module.buffers()))  # what is recorded has not run
        gradients = [parameter.grad for parameter in parameters]
        if self.fault == "refuses":
            raise RuntimeError("operation not permitted when stream is capturing\nand much more")

        def start() -> None:
            self.started += 1
            for parameter in parameters:
                parameter.grad = None
            result.copy_(work())
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    gradient.copy_(parameter.grad)
            if self.fault == "another result":
                result[0].neg_()
            if self.fault == "another gradient":
                gradients[0].mul_(1.1)
            if self.fault == "another statistic":
                self.module[1].running_mean.zero_()

        return start, result


class Heard:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def track(self, items, total=None, label=""):
        yield from items


def made() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(128, 2)
    )


def train(
    network: nn.Module, graphs: Graphs | None, *, accumulate: int = 1, progress=QUIET, steps: int = 8
) -> list[Tensor]:
    """Some steps as the loop makes them; what each gave."""
    replay, optimizer = Replay(network, graphs, progress), torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)

    def passes(inputs: Tensor, labels: Tensor) -> Tensor:
        logits: Tensor = network(inputs)
        F.cross_entropy(logits, labels).backward()
        return logits.detach()

    results = []
    for i in range(steps * accumulate):
        inputs = torch.randn(16, 3, 6, 6, generator=torch.Generator().manual_seed(i))
        torch.manual_seed(i)
        results.append(replay.run(passes, None, inputs, torch.arange(16) % 2))
        if i % accumulate == accumulate - 1:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return results


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_steps_that_are_replayed_are_the_steps(accumulate):
    plain, replayed = made(), made()
    graphs = Again(replayed)
    expected, results = train(plain, None, accumulate=accumulate), train(replayed, graphs, accumulate=accumulate)
    assert graphs.recorded == 1
    assert graphs.started == 8 - BEFORE  # one run to compare with counts, of those that were not added to others
    assert all(torch.equal(a, b) for a, b in zip(expected, results, strict=True))
    assert same(plain, replayed)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("waits", "synchronizing"),
        ("refuses", "stream is capturing"),
        ("another result", "other numbers"),
        ("another gradient", "other numbers"),
        ("another statistic", "other numbers"),
    ],
)
def test_what_cannot_be_replayed_runs_as_it_is(fault, reason):
    plain, replayed, heard = made(), made(), Heard()
    graphs = Again(replayed, fault)
    expected, results = train(plain, None), train(replayed, graphs, progress=heard)
    assert graphs.recorded == (fault != "waits")
    assert graphs.started == fault.startswith("another")
    assert len(heard.lines) == 1 and reason in heard.lines[0] and "\n" not in heard.lines[0]
    assert all(torch.equal(a, b) for a, b in zip(expected, results, strict=True))
    assert same(plain, replayed)


def test_another_kind_of_work_is_recorded_anew():
    network = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    graphs = Again(network)
    replay = Replay(network, graphs, QUIET)

    def passes(inputs: Tensor) -> Tensor:
        loss: Tensor = network(inputs).sum()
        loss.backward()
        return loss.detach()

    def often(count: int = 8, kind: int = 0) -> int:
        before = graphs.recorded
        for _ in range(BEFORE + 3):
            replay.run(passes, kind, torch.ones(count, 4))
            network.zero_grad()
        return graphs.recorded - before

    assert often() == 1
    assert often() == 0
    assert often(count=9) == 1
    assert often(count=9, kind=1) == 1
    network[0].weight.requires_grad_(False)
    assert often(count=9, kind=1) == 1
    network.eval()
    assert often(count=9, kind=1) == 1
    network[2].weight.data = network[2].weight.data.clone()
    assert often(count=9, kind=1) == 1
    assert often(count=9, kind=1) == 0


def test_nothing_of_a_failed_attempt_is_kept_while_the_work_runs_again():
    network = nn.Linear(4, 2)
    replay, losses, alive = Replay(network, Again(network), QUIET), [], []

    def passes(inputs: Tensor) -> Tensor:
        alive.append(any(loss() is not None for loss in losses))
        loss: Tensor = network(inputs).sum()
        losses.append(weakref.ref(loss))
        loss.backward()
        if len(losses) == BEFORE + 1:
            raise torch.OutOfMemoryError("no room for two")
        return loss.detach()

    gc.disable()  # which would hide it, sooner or later
    try:
        for _ in range(BEFORE + 1):
            replay.run(passes, None, torch.ones(8, 4))
            network.zero_grad()
    finally:
        gc.enable()
    assert alive == [False] * (BEFORE + 2)


def test_numbers_are_alike_where_together_they_hardly_differ():
    numbers = [torch.tensor([100.0, 1.0]), None, torch.tensor(3)]
    assert alike(numbers, numbers)
    assert alike([torch.tensor([101.0, 1.0]), None, torch.tensor(3)], numbers)
    assert not alike([torch.tensor([110.0, 1.0]), None, torch.tensor(3)], numbers)
    assert not alike([torch.tensor([100.0, 1.0]), None, torch.tensor(4)], numbers)
    assert alike([torch.tensor(1000.0), torch.tensor(1e-3)], [torch.tensor(1000.0), torch.tensor(0.0)])
    assert not alike([torch.tensor([float("nan"), 1.0]), None, torch.tensor(3)], numbers)
    assert not alike([numbers[0], torch.ones(1), torch.tensor(3)], numbers)
    assert alike([], [])


def test_on_a_cpu_nothing_is_recorded():
    assert graphs_for("cpu", QUIET) is None


@needs_gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_after_work_that_waits_for_the_gpu_all_is_as_before():
    network = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2)).cuda()
    heard, stream = Heard(), torch.cuda.current_stream()
    replay = Replay(network, graphs_for("cuda", heard), heard)

    def passes(inputs: Tensor) -> Tensor:
        loss: Tensor = network(inputs).sum()
        loss.backward()
        loss.item()
        return loss.detach()

    results = []
    for _ in range(BEFORE + 3):
        torch.manual_seed(0)
        results.append(float(replay.run(passes, None, torch.ones(8, 4, device="cuda"))))
        network.zero_grad()
    assert len(heard.lines) == 1 and "no CUDA graph" in heard.lines[0]
    assert results == pytest.approx([results[0]] * len(results))
    assert torch.cuda.current_stream() == stream
    assert torch.cuda.get_sync_debug_mode() == 0
    assert not CudaGraphs.broken
