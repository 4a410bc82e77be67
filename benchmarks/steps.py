"""Steps: how near speednet's training comes to the rate of a plain matrix product on this machine, GFLOP/s."""

import time

import torch
from torch.nn import functional as F

from shoebox.base.runtime import choose_runtime
from shoebox.data.preprocess import Preprocess
from shoebox.models import build_model
from shoebox.models.summary import summary
from shoebox.pipeline import Pipeline
from shoebox.training.optimizer import build_optimizer


def measure(data: str, batch_size: int = 512, rounds: int = 5) -> dict[str, float | str]:
    """FLOPs counted by hooks (backward: twice the forward), the two measured in turn, the best of each."""
    runtime = choose_runtime()
    network = build_model("speednet", classes=10, size=32)
    pipeline = Pipeline(network, Preprocess(32, 32)).place(runtime.device).train()
    optimizer = build_optimizer("muon", network, None, None)
    flops = 3 * 2 * summary(network, 32).multiply_adds * batch_size
    pictures = torch.randint(0, 256, (batch_size, 3, 32, 32), dtype=torch.uint8, device=runtime.device)
    labels = torch.randint(0, 10, (batch_size,), device=runtime.device)
    dtype = torch.bfloat16 if runtime.precision == "bf16" else torch.float32
    square = torch.randn(2048, 2048, dtype=dtype, device=runtime.device)
    best = {"product": float("inf"), "step": float("inf")}
    for _ in range(rounds):
        start = time.perf_counter()
        float((square @ square)[0, 0])
        best["product"] = min(best["product"], time.perf_counter() - start)
        start = time.perf_counter()
        with runtime.autocast():
            logits = network(pipeline.inputs(pictures)).float()
        F.cross_entropy(logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        float(logits.detach()[0, 0])
        best["step"] = min(best["step"], time.perf_counter() - start)
    product, step = 2 * 2048**3 / best["product"] / 1e9, flops / best["step"] / 1e9
    return {
        "runtime": runtime.reason,
        "product_gflops": product,
        "step_gflops": step,
        "share": step / product,
        "pictures_per_second": batch_size / best["step"],
    }
