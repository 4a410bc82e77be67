"""Steps: how near speednet's training comes to the rate of a plain matrix product on this machine, GFLOP/s."""

import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from shoebox.base.runtime import choose_runtime
from shoebox.data.preprocess import Preprocess
from shoebox.models import build_model
from shoebox.models.summary import summary
from shoebox.pipeline import Pipeline
from shoebox.training.optimizer import build_optimizer

WIDTHS = (1.0, 0.75)


def measure(data: str, batch_size: int = 512, rounds: int = 7) -> dict[str, object]:
    """FLOPs counted by hooks (backward: twice the forward), products and steps measured in turn, the best of each.

    Counted as a convolution's definition has them; in float32 and where a CPU multiplies 16 bits Shoebox does with
    fewer (`shoebox.base.winograd`), so that a share may exceed 1.

    The shares are of the product in float32 (sgemm), and of that in the type that the steps compute in.
    """
    runtime = choose_runtime(halves=True)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[runtime.precision]
    work: dict[str, tuple[float, Callable[[], object]]] = {
        "sgemm": _product(torch.float32, runtime.device),
        "product": _product(dtype, runtime.device),
    }
    work |= {f"speednet(width={width})": _step(width, batch_size, runtime) for width in WIDTHS}
    best = dict.fromkeys(work, float("inf"))
    for _ in range(rounds):
        for name, (_, run) in work.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    rates = {name: flops / best[name] / 1e9 for name, (flops, _) in work.items()}
    sgemm, product = rates.pop("sgemm"), rates.pop("product")
    steps = {
        name: {
            "gflops": rate,
            "share_of_sgemm": rate / sgemm,
            "share_of_product": rate / product,
            "pictures_per_second": batch_size / best[name],
        }
        for name, rate in rates.items()
    }
    return {"runtime": runtime.reason, "sgemm_gflops": sgemm, "product_gflops": product, "steps": steps}


def _product(dtype, device, side: int = 2048):
    square = torch.randn(side, side, dtype=dtype, device=device)
    return 2 * side**3, lambda: float((square @ square)[0, 0])


def _step(width: float, batch_size: int, runtime):
    network = build_model(f"speednet(width={width})", classes=10, size=32)
    pipeline = Pipeline(network, Preprocess(32, 32)).place(runtime.device).train()
    optimizer = build_optimizer("muon", network, None, None)
    pictures = torch.randint(0, 256, (batch_size, 3, 32, 32), dtype=torch.uint8, device=runtime.device)
    labels = torch.randint(0, 10, (batch_size,), device=runtime.device)

    def step() -> None:
        with runtime.autocast():
            logits = network(pipeline.inputs(pictures)).float()
        F.cross_entropy(logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        float(logits.detach()[0, 0])

    return 3 * 2 * summary(network, 32).multiply_adds * batch_size, step
