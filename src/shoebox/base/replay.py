"""The forward and backward pass of a step, on a GPU recorded once and then started as one: a CUDA graph.

A GPU is done with the kernels of a small network sooner than Python can start them one after the other. What is
recorded keeps the addresses of all it reads and writes: so it is recorded anew for other shapes, and where other
parameters train.

In: a module, work with it that ends in gradients, what the work is given. Out: the same gradients and result.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from shoebox.base.progress import Progress

BEFORE = 2
"""How many times the same work runs as it is before it is recorded: what is chosen, built or allocated in the first of
them cannot be recorded, and what happens once or twice is not worth it."""

ALIKE = 0.05
"""Of their size, how far gradients that are replayed may be from those that were computed: for kernels that add in no
fixed order, in bf16. What reads a wrong address is as far off as it is large."""

LEFT = 0.25
"""Share of a GPU's memory that must be free beside what a recording keeps, for validations and what else comes."""

WITHOUT = "no CUDA graph, so a small network trains more slowly: {}"

Work = Callable[..., Tensor]
"""From tensors on the device to a tensor without gradient; leaves the gradients of parameters in `grad`. It reads no
value back, and what else it depends on stays as it is."""


class Graphs(Protocol):
    """What records."""

    def aside(self, work: Callable[[], Tensor]) -> Tensor:
        """Run work as recorded work will run, but for the recording, and leave the random numbers as they were."""

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Record work without running it; what runs it, and where its result then lies."""


class CudaGraphs:
    """CUDA graphs of one device.

    Both run in one stream of their own, as torch asks of what is recorded (its notes on CUDA semantics, "Whole-network
    capture").
    """

    broken = ""
    """Why a recording failed in this process, after which none is tried: some torch releases keep pieces of it, on
    which the next would stumble."""

    def __init__(self, device: str) -> None:
        number = torch.device(device).index
        self._device = torch.device("cuda", torch.cuda.current_device() if number is None else number)

    def aside(self, work: Callable[[], Tensor]) -> Tensor:
        before, stream = torch.cuda.current_stream(self._device), _stream(self._device)
        numbers, mode = torch.cuda.get_rng_state(self._device), torch.cuda.get_sync_debug_mode()
        stream.wait_stream(before)
        try:
            with warnings.catch_warnings(), torch.cuda.stream(stream):
                warnings.simplefilter("ignore")  # that this mode is new
                torch.cuda.set_sync_debug_mode("error")  # work that waits would break its recording
                return work()
        finally:
            torch.cuda.set_sync_debug_mode(mode)
            before.wait_stream(stream)
            torch.cuda.set_rng_state(numbers, self._device)

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        graph, stream = torch.cuda.CUDAGraph(), _stream(self._device)
        numbers = torch.cuda.default_generators[self._device.index]
        spare = numbers.clone_state()
        try:
            # The middle one is there to come back to, which a recording that fails does not. Threads that make the next
            # batches ready may allocate meanwhile.
            with (
                torch.cuda.device(self._device),
                torch.cuda.stream(torch.cuda.current_stream(self._device)),
                torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"),
            ):
                result = work()
        except BaseException as e:
            CudaGraphs.broken = why(e)
            numbers.graphsafe_set_state(spare)  # the one that is left may think that it is still being recorded
            raise
        free, total = torch.cuda.mem_get_info(self._device)
        if free < LEFT * total:
            raise RuntimeError(f"it would leave {free / 2**30:.1f} GiB of the GPU's memory")
        return graph.replay, result


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of recordings: one, since torch keeps memory for each that matrices were multiplied in."""
    return torch.cuda.Stream(device)


@dataclass(frozen=True)
class Recording:
    """Work that is recorded.

    Attributes:
        kind: what must be the same for it to serve.
        given: where it reads what it is given.
        result: where it leaves its result.
        gradients: and, for each parameter, its gradient.
        start: runs it.
    """

    kind: Hashable
    given: tuple[Tensor, ...]
    result: Tensor
    gradients: list[Tensor | None]
    start: Callable[[], None]

    def run(self, module: nn.Module, given: Sequence[Tensor]) -> Tensor:
        """The work on other tensors of the same kind; a result of its own, and gradients that hold until the next."""
        for place, tensor in zip(self.given, given, strict=True):
            place.copy_(tensor)
        self.start()
        for parameter, gradient in zip(module.parameters(), self.gradients, strict=True):
            parameter.grad = gradient
        return self.result.clone()


class Replay:
    """Runs work, and where the same kind of work comes again and again, its recording.

    For modules that do the same with all that has one shape, since a recording repeats what Python chose when it was
    made. It is first held against the work itself; where they differ, or nothing can be recorded, the work runs as it
    is from then on, and a line says so.

    Args:
        module: whose parameters get the gradients, and whose buffers follow.
        graphs: what records; None: nothing is recorded.
        progress: where that is said.
    """

    def __init__(self, module: nn.Module, graphs: Graphs | None, progress: Progress) -> None:
        self._module, self._graphs, self._progress = module, graphs, progress
        self._kind: Hashable = None
        self._times = 0
        self._recording: Recording | None = None

    def run(self, work: Work, kind: Hashable, *given: Tensor) -> Tensor:
        """The result of `work(*given)`, with the gradients in place.

        `kind`: of what else the work depends on; the tensors' shapes and what of the module trains count anyway. Work
        that finds gradients of earlier work adds to them, and is not replayed.
        """
        if self._graphs is None or any(p.grad is not None for p in self._module.parameters()):
            return work(*given)
        kind = (kind, self._state(given))
        if self._recording is None or self._recording.kind != kind:
            self._recording = None  # its memory is for the next
            self._times = self._times + 1 if kind == self._kind else 1
            self._kind = kind
            return work(*given) if self._times <= BEFORE else self._first(self._graphs, work, kind, given)
        return self._recording.run(self._module, given)

    def _state(self, given: Sequence[Tensor]) -> Hashable:
        module = self._module
        shapes = tuple((tensor.shape, tensor.stride(), tensor.dtype) for tensor in given)
        trained = tuple((parameter.data_ptr(), parameter.requires_grad) for parameter in module.parameters())
        buffers = tuple(buffer.data_ptr() for buffer in module.buffers())
        return shapes, trained, buffers, tuple(part.training for part in module.modules())

    def _first(self, graphs: Graphs, work: Work, kind: Hashable, given: Sequence[Tensor]) -> Tensor:
        """Record. The work runs aside and is replayed, and one of the two counts."""
        buffers = list(self._module.buffers())
        before = [buffer.clone() for buffer in buffers]
        after, gradients, expected = before, self._taken(), None
        try:
            expected = graphs.aside(lambda: work(*given))
            after, gradients = [buffer.clone() for buffer in buffers], self._taken()
            put(before, buffers)
            places = tuple(tensor.clone() for tensor in given)
            start, result = graphs.record(lambda: work(*places))
            recording = Recording(kind, places, result, self._taken(), start)
            got = recording.run(self._module, given)
            moved, expected_moves = (
                [a.double() - b for a, b in zip(new, before, strict=True)] for new in (buffers, after)
            )
            found = [parameter.grad for parameter in self._module.parameters()]
            if alike([got], [expected]) and alike(found, gradients) and alike(moved, expected_moves):
                self._recording = recording
                return got
            reason = "replayed, it gives other numbers"
        except RuntimeError as e:  # of CUDA, and of memory
            reason = why(e)
        self._progress.say(WITHOUT.format(reason))
        self._graphs = None
        put(after, buffers)
        for parameter, gradient in zip(self._module.parameters(), gradients, strict=True):
            parameter.grad = gradient
        return work(*given) if expected is None else expected

    def _taken(self) -> list[Tensor | None]:
        """The gradients, which the parameters then no longer have."""
        gradients = [parameter.grad for parameter in self._module.parameters()]
        for parameter in self._module.parameters():
            parameter.grad = None
        return gradients


def graphs_for(device: str, progress: Progress) -> Graphs | None:
    """What records on a device; None where nothing can be."""
    if not device.startswith("cuda") or not torch.cuda.is_available():
        return None
    if CudaGraphs.broken:
        progress.say(WITHOUT.format(CudaGraphs.broken))
        return None
    return CudaGraphs(device)


def why(error: BaseException) -> str:
    """The first line of what went wrong at first, without the error, which keeps alive all that was in use."""
    cause = error.__context__ or error
    return (str(cause).splitlines() or [type(cause).__name__])[0]


def put(values: Sequence[Tensor], tensors: Sequence[Tensor]) -> None:
    """Give tensors the values of others, in place."""
    for value, tensor in zip(values, tensors, strict=True):
        tensor.copy_(value)


def alike(found: Sequence[Tensor | None], expected: Sequence[Tensor | None]) -> bool:
    """Whether the same are there, and each differs by at most `ALIKE` of its size, or of a thousandth of all together:
    what should be zero is noise. Waits for the device."""
    if [tensor is None for tensor in found] != [tensor is None for tensor in expected]:
        return False
    pairs = [(a, b) for a, b in zip(found, expected, strict=True) if a is not None and b is not None]
    if not pairs:
        return True
    sizes = torch.stack([b.double().norm() for _, b in pairs])
    off = torch.stack([(a.double() - b.double()).norm() for a, b in pairs])
    return bool((off <= ALIKE * sizes.clamp_min(sizes.norm() / 1000)).all())
