"""What runs here, and what is fast here: device, arithmetic, threads, the seed of every random draw.

The arithmetic is chosen by measurement, since the same name ("bf16 on a CPU") is twice as fast as float32 on one
processor and many times slower on the next.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from shoebox.base.errors import UsageError

# of malloc.h and linux/prctl.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, PR_SET_THP_DISABLE = -1, -3, -4, 41

Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Runtime:
    """The machine as a run uses it.

    Attributes:
        device: "cpu", "cuda", "cuda:1", "mps".
        precision: "fp32", "bf16" or "fp16": the arithmetic of training's matrix products; weights stay float32.
        reason: why, in one line for the person.
        halves: whether it is that of `half_products`, on a CPU.
    """

    device: str
    precision: Literal["fp32", "bf16", "fp16"]
    reason: str
    halves: bool = False

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context in which training's forward pass runs."""
        import torch

        from shoebox.base.winograd import half_products

        if self.halves and self.precision != "fp32":
            return half_products()
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]
        return torch.autocast(self.device.split(":")[0], dtype, enabled=self.precision != "fp32")


def choose_device(device: str = "auto") -> str:
    """Resolve "auto" to the first of cuda, mps, cpu that is there.

    Raises:
        UsageError: the device asked for is not on this machine.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind = device.split(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind, False):
        choices = ", ".join(k for k, ok in there.items() if ok)
        raise UsageError(f"the device {device!r} is not available here: choose from auto, {choices}")
    return device


def choose_runtime(device: str = "auto", precision: Precision = "auto", *, halves: bool = False) -> Runtime:
    """Decide what to run on and in which arithmetic, measuring where it matters (about 0.3 s on a CPU with AVX-512).

    `halves`: for a network made for `half_products`; a CPU with AVX512-FP16 or AVX512-BF16 may then train it within.
    """
    import torch

    from shoebox.base.arithmetic import half_type

    device = choose_device(device)
    own = half_type() if halves and device == "cpu" else None
    if precision != "auto":
        return Runtime(device, precision, f"{device} in {precision}, as asked", halves=precision == own)
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
        if torch.cuda.is_bf16_supported():
            return Runtime(device, "bf16", f"{name} in bf16")
        return Runtime(device, "fp32", f"{name} in fp32: it has no bf16")
    if device == "cpu":
        gain, half = bf16_gain(), half_gain() if own else 0.0
        threads = torch.get_num_threads()
        # No more is asked of it: where there is such arithmetic a step gains more than this one layer shows.
        if own and half > max(gain, 1.0):
            reason = f"{threads} CPU threads in {own} of its own, measured {half:.1f} times as fast as fp32 here"
            return Runtime(device, own, reason, halves=True)
        # Below this the casts around torch's products eat what the products gain.
        if gain > 1.3:
            reason = f"{threads} CPU threads in bf16, measured {gain:.1f} times as fast as fp32 here"
            return Runtime(device, "bf16", reason)
        why = f"bf16 measured {gain:.2f} times as fast here" if gain else "this processor has no bf16"
        return Runtime(device, "fp32", f"{threads} CPU threads in fp32 ({why})")
    return Runtime(device, "fp32", f"{device} in fp32")


@functools.cache
def bf16_gain() -> float:
    """How many times as fast one 3×3 convolution runs in bf16 as in fp32 on this CPU; 0 where bf16 is not supported.

    In fp32 as networks from scratch compute it (`convolve`), in bf16 as torch does. With AVX2 alone torch has to
    imitate it: on an AMD EPYC in 0.05 to 0.08 of the rate, and 0.3 s to learn that.
    """
    import torch

    if torch.backends.cpu.get_cpu_capability() == "AVX2":
        return 0.0
    return _gain("bfloat16", "bfloat16")


@functools.cache
def half_gain() -> float:
    """The same of what `half_products` has it computed in; for processors that can."""
    return _gain("bfloat16", "float32")


def _gain(maps: str, filters: str) -> float:
    """The two in turn, the best of up to eight each: a busy moment must not change the arithmetic of a run."""
    import torch

    from shoebox.base.winograd import convolve

    made = []
    for types in ((maps, filters), ("float32", "float32")):
        shapes = zip(((32, 128, 16, 16), (128, 128, 3, 3)), types, strict=True)
        made.append([torch.ones(shape, dtype=getattr(torch, name)) for shape, name in shapes])
    made = [[tensor.contiguous(memory_format=torch.channels_last) for tensor in pair] for pair in made]
    best = [float("inf"), float("inf")]
    for turn in range(8):
        if turn > 1 and best[1] < 0.5 * best[0]:
            break  # hopeless, and slow to measure; the first turn has built the kernels
        for i, (pictures, weights) in enumerate(made):
            start = time.perf_counter()
            try:
                convolve(pictures, weights)
            except RuntimeError:
                return 0.0
            best[i] = min(best[i], time.perf_counter() - start)
    return best[1] / best[0]


PLACES_AT_ONCE = 400_000
"""Places of pictures, side × side × pictures, of whose activations a CPU's cache holds enough: MobileNetV2 was seen to
compute 85 pictures of 224 px a second and core in batches of 64, 134 in batches of 8; of 96 px 450 in batches of 8, 610
in batches of 64."""


def at_once(device: str, side: int, looks: int = 1, places: int = PLACES_AT_ONCE) -> int:
    """How many pictures of `side` px, each in several looks, to compute at a time where no gradients are wanted: on a
    CPU those that have so many `places`, smaller than 40 px as many as of 40; elsewhere 256."""
    return max(8, places // max(side, 40) ** 2 // looks) if device == "cpu" else 256


def wait_politely() -> None:
    """Let idle threads of a parallel section sleep after about 30 µs instead of spinning for milliseconds.

    Beside another busy program, a spinning thread keeps the very thread it waits for off the processor: two trainings
    on two cores were seen to slow each other fivefold. Takes effect only before torch is imported (GNU libgomp reads
    the variable once); a person's own setting stays.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def ask_for_large_pages() -> None:
    """Have torch ask the kernel for pages of 2 MiB for large tensors, where it offers them (Linux).

    A tensor of over 32 MiB comes fresh from the kernel each time, which clears it page by page: with pages of 4 KiB, a
    training step here, whose activations are such tensors, spent a fifth of its time on that. Takes effect only before
    torch is imported; a person's own setting stays. `memory_kept` does more, but is not for everything.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def collect_rarely() -> None:
    """Have Python look for garbage in cycles after every 50,000 new objects instead of every 700, and not as it ends.

    Each look costs more the more there is: of a minute's training on 60,000 pictures the looks took 1.8 s (an older AMD
    EPYC), so they take 0.6. Those at the end took another 1.3, and 0.02 of `shoebox --help`. For a process of our own;
    memory that no cycle holds is freed at once, as ever, and what is to be done at the end is done before.
    """
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)  # functions registered later, the libraries' among them, run earlier


@contextlib.contextmanager
def memory_kept() -> Iterator[None]:
    """Within the block, memory that is freed stays with the process, for the next tensor of its size (glibc's malloc).

    For steps that ask for the same tensors over and over: a training step of `speednet` was seen to take 0.94 of its
    time with `ask_for_large_pages` alone. Where small results are kept between large ones, it pins gigabytes.
    """
    import ctypes

    try:
        c = ctypes.CDLL(None)
        kept = c.mallopt(M_MMAP_MAX, 0) and c.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    except (AttributeError, OSError, TypeError):
        kept = 0
    if not kept:
        yield
        return
    c.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)  # kept pages are not cleared again, however small
    try:
        yield
    finally:
        c.prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0)
        # malloc's limits, once set, no longer adapt by themselves: these are where they end up in a long process.
        c.mallopt(M_MMAP_MAX, 1 << 16)
        c.mallopt(M_MMAP_THRESHOLD, 32 << 20)
        c.mallopt(M_TRIM_THRESHOLD, 64 << 20)
        c.malloc_trim(0)


def give_back_memory() -> None:
    """Return what `memory_kept` kept and nothing uses to the system: worth it when the sizes of tensors change."""
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def machine_key() -> str:
    """What is measured here holds where this is the same: the processor, what it can do, and how many there are.

    Read without torch; a GPU counts by being there.
    """
    import hashlib
    import platform
    from pathlib import Path

    name, skills = platform.processor() or platform.machine(), ""
    info = Path("/proc/cpuinfo")
    for line in info.read_text(encoding="utf-8").splitlines() if info.is_file() else ():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            skills = hashlib.blake2b(value.encode(), digest_size=4).hexdigest()
            break
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    return ", ".join(filter(None, [name, skills, f"{count} processors", f"{gpus} GPUs" if gpus else ""]))


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part, so that (seed, epoch, step) alone decides each random draw."""
    import hashlib

    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def process_age() -> float:
    """Seconds since this process began, imports included."""
    import psutil

    return time.time() - float(psutil.Process(os.getpid()).create_time())
