"""Optimizers and schedules by name: what moves the weights, and how far at which moment.

An optimizer is built from a specification ("muon", "sgd(momentum=0.9)") and the network; a schedule is a function from
the progress of training, 0 to 1, to a multiple of the peak learning rate, so that it holds no state.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from shoebox.base.errors import UsageError
from shoebox.base.registry import Registry
from shoebox.models.network import Network

OPTIMIZERS: Registry[Callable[..., torch.optim.Optimizer]] = Registry("optimizer")
"""Functions `(network, lr: float, weight_decay: float, *, options) -> Optimizer`.

Each parameter group keeps its peak rate as "peak"."""

SCHEDULES: Registry[Callable[..., Callable[[float], float]]] = Registry("schedule")
"""Functions `(*, options) -> (progress: 0 to 1) -> multiple of the peak rate`."""

DEFAULT_LR = {"muon": 0.24, "adam": 1e-3, "adamw": 1e-3, "sgd": 0.05}


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for filters; Nesterov's momentum for the network's `offsets`; AdamW for everything else.

    The step of a filter bank, seen as a matrix (out, in·k·k), is its momentum with all singular values brought near
    one by a few Newton–Schulz iterations; the bank itself is kept at the norm √out. After Jordan et al., "Muon: an
    optimizer for hidden layers in neural networks", 2024.
    """

    # torch wraps these so that its compiler leaves them alone, and imports it for that: a second before the first step.
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        super().__init__(groups, {"weight_decay": 0.0, "momentum": 0.6, "betas": (0.85, 0.95), "kind": "adam"})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Apply the gradients once."""
        moves = {"orthogonal": self._orthogonal, "plain": self._plain, "adam": self._adam}
        for group in self.param_groups:
            if parameters := [parameter for parameter in group["params"] if parameter.grad is not None]:
                moves[group["kind"]](parameters, [parameter.grad for parameter in parameters], group)

    def _orthogonal(self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        ahead = self._ahead(parameters, gradients, group)
        scales = torch._foreach_norm(parameters)
        torch._foreach_clamp_min_(scales, 1e-12)
        torch._foreach_reciprocal_(scales)
        torch._foreach_mul_(scales, [math.sqrt(len(parameter)) for parameter in parameters])
        torch._foreach_mul_(parameters, scales)
        # The order of a matrix's columns is all one; in this one, filters that are channels-last need not be copied.
        banks = [parameter.permute(0, 2, 3, 1) for parameter in parameters]
        matrices = [direction.permute(0, 2, 3, 1).flatten(1) for direction in ahead]
        for alike in _together(matrices):
            some = [matrices[i] for i in alike]
            directions = orthogonalise(torch.stack(some) if len(some) > 1 else some[0][None])
            steps = [direction.view(banks[i].shape) for i, direction in zip(alike, directions, strict=True)]
            torch._foreach_add_([banks[i] for i in alike], steps, alpha=-group["lr"])

    def _plain(self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        torch._foreach_add_(parameters, self._ahead(parameters, gradients, group), alpha=-group["lr"])

    def _ahead(self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """The gradients, and `momentum` times the momenta, which have just taken them in (Nesterov)."""
        momenta = self._kept(parameters, "momentum")
        torch._foreach_mul_(momenta, group["momentum"])
        torch._foreach_add_(momenta, gradients)
        return list(torch._foreach_add(gradients, momenta, alpha=group["momentum"]))

    def _adam(self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        fast, slow = group["betas"]
        means, squares = self._kept(parameters, "mean"), self._kept(parameters, "square")
        steps = [float(self.state[parameter].get("step", 0.0)) + 1 for parameter in parameters]
        for parameter, step in zip(parameters, steps, strict=True):
            self.state[parameter]["step"] = torch.tensor(step)  # what a checkpoint holds are tensors
        torch._foreach_lerp_(means, gradients, 1 - fast)
        torch._foreach_mul_(squares, slow)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - slow)
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        scales = torch._foreach_div(squares, [1 - slow**step for step in steps])
        torch._foreach_sqrt_(scales)
        torch._foreach_add_(scales, 1e-8)
        torch._foreach_addcdiv_(parameters, means, scales, [-group["lr"] / (1 - fast**step) for step in steps])

    def _kept(self, parameters: list[Tensor], name: str) -> list[Tensor]:
        """What is remembered of each parameter, zeros at first."""
        for parameter in parameters:
            if name not in self.state[parameter]:
                self.state[parameter][name] = torch.zeros_like(parameter)
        return [self.state[parameter][name] for parameter in parameters]


def _together(matrices: Sequence[Tensor]) -> list[list[int]]:
    """Which to move at once, by number: on a GPU those of one shape, since it is done with one of them before the next
    could be started; on a CPU each by itself, without a copy."""
    groups: dict[Any, list[int]] = {}
    for i, matrix in enumerate(matrices):
        groups.setdefault(matrix.shape if matrix.is_cuda else i, []).append(i)
    return list(groups.values())


def orthogonalise(matrices: Tensor, steps: int = 3) -> Tensor:
    """Bring the singular values of matrices (G, m, n) near one by quintic Newton–Schulz iterations.

    The coefficients maximise the slope at zero, so values end between about 0.5 and 1.5 rather than at 1, which serves
    an optimizer as well (Jordan et al., as above). Each iteration multiplies X by a polynomial of X·Xᵀ, which then is
    multiplied by its square; so it is enough to follow these small square matrices, and to multiply X once, by the
    product of the polynomials. On a GPU, X is multiplied in bf16.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.bfloat16() if matrices.is_cuda else matrices.float()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    gram, product = (x @ x.mT).float(), None
    for left in reversed(range(steps)):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=1, dim2=2).add_(a)
        product = factor if product is None else factor @ product
        if left:
            gram = factor @ gram @ factor
    x = x if product is None else product.to(x.dtype) @ x
    return (x.mT if tall else x).to(matrices.dtype)


@OPTIMIZERS.register
def muon(
    network: Network,
    lr: float,
    weight_decay: float,
    *,
    momentum: float = 0.6,
    other_lr: float = 0.01,
    offsets: float = 1840.0,
) -> torch.optim.Optimizer:
    """Muon for filters, AdamW at `other_lr` for the rest, gradient descent at `offsets`·lr² for the network's offsets.

    The published record moves them so too, at 0.053 times the pictures of a batch: muon's rate follows the root of the
    batch, theirs the batch. On 45 % of CIFAR-10 (width 0.5, six passes, seed 0; mean of validation and test) it reached
    0.8416, with AdamW for them 0.8350; twice the rate did as well, half of it worse (0.8368).
    A momentum of 0.7 or 0.8 did no better (width 0.375, five passes, four seeds: log loss 0.4205 and 0.4203 against
    0.4211), one of 0.9 worse (0.4445).
    """
    training = [p for p in network.parameters() if p.requires_grad]
    filters = [p for p in training if p.ndim == 4]
    shifted = {id(p) for p in network.offsets()}
    plain = [p for p in training if id(p) in shifted]
    others = [p for p in training if p.ndim != 4 and id(p) not in shifted]
    groups: list[dict[str, Any]] = [
        {"params": filters, "lr": lr, "momentum": momentum, "kind": "orthogonal"},
        {"params": plain, "lr": offsets * lr**2, "momentum": 0.85, "kind": "plain"},
        {"params": others, "lr": other_lr, "weight_decay": weight_decay},
    ]
    return Muon([{**group, "peak": group["lr"]} for group in groups if group["params"]])


@OPTIMIZERS.register
def adam(
    network: Network, lr: float, weight_decay: float, *, betas: tuple[float, float] = (0.9, 0.999), head: float = 1.0
) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba, 2015), its weight decay added to the gradient. `head` multiplies the head's rate."""
    groups = _groups(network, lr, weight_decay, head, decay_all=True)
    return torch.optim.Adam(groups, lr=lr, betas=(betas[0], betas[1]))


@OPTIMIZERS.register
def adamw(
    network: Network,
    lr: float,
    weight_decay: float,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    head: float = 1.0,
    deeper: float = 1.0,
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), none on biases and norms.

    Each stage's rate is `deeper` times that of the stage above it (layer-wise decay: Clark et al., ELECTRA, 2020).
    """
    groups = _groups(network, lr, weight_decay, head, decay_all=False, deeper=deeper)
    return torch.optim.AdamW(groups, lr=lr, betas=(betas[0], betas[1]))


@OPTIMIZERS.register
def sgd(
    network: Network, lr: float, weight_decay: float, *, momentum: float = 0.9, nesterov: bool = True, head: float = 1.0
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with (Nesterov) momentum."""
    groups = _groups(network, lr, weight_decay, head, decay_all=True)
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov and momentum > 0)


def build_optimizer(spec: str, network: Network, lr: float | None, weight_decay: float | None) -> torch.optim.Optimizer:
    """The named optimizer over what trains in `network`.

    Raises:
        UsageError: unknown name or option, or nothing trains.
    """
    name, _ = OPTIMIZERS.check(spec)
    if not any(p.requires_grad for p in network.parameters()):
        raise UsageError("nothing in this network trains: set trainable to head, all or a number of stages")
    return cast(
        torch.optim.Optimizer,
        OPTIMIZERS.build(spec, network, lr or DEFAULT_LR[name], weight_decay if weight_decay is not None else 0.0),
    )


@SCHEDULES.register
def constant() -> Callable[[float], float]:
    """The peak rate throughout."""
    return lambda progress: 1.0


@SCHEDULES.register
def linear(*, end: float = 0.0) -> Callable[[float], float]:
    """From the peak straight down to `end` times it."""
    return lambda progress: 1.0 + (end - 1.0) * progress


@SCHEDULES.register
def cosine(*, end: float = 0.0) -> Callable[[float], float]:
    """Half a cosine from the peak to `end` times it."""
    return lambda progress: end + (1 - end) * 0.5 * (1 + math.cos(math.pi * progress))


@SCHEDULES.register
def onecycle(*, rise: float = 0.25, start: float = 0.04) -> Callable[[float], float]:
    """Up to the peak over `rise` of training, then down to zero, both along a cosine (Smith and Topin, 2018)."""

    def rate(progress: float) -> float:
        if progress < rise:
            return start + (1 - start) * 0.5 * (1 - math.cos(math.pi * progress / rise))
        return 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))

    return rate


@SCHEDULES.register
def step(*, at: tuple[float, ...] = (0.5, 0.75), factor: float = 0.1) -> Callable[[float], float]:
    """Times `factor` at each share of training in `at`."""
    return lambda progress: factor ** sum(progress >= moment for moment in at)


@SCHEDULES.register
def plateau(*, factor: float = 0.1, patience: int = 5) -> Callable[[float], float]:
    """The peak rate; `fit` multiplies it by `factor` after `patience` epochs without a better monitor."""
    return lambda progress: 1.0


def build_schedule(spec: str, warmup: float) -> Callable[[float], float]:
    """The named schedule, rising from zero over the first `warmup` share of training."""
    shape = cast(Callable[[float], float], SCHEDULES.build(spec))
    if warmup == 0:
        return shape
    return lambda progress: min(1.0, progress / warmup) * shape(max(0.0, (progress - warmup) / (1 - warmup)))


def _groups(
    network: Network, lr: float, weight_decay: float, head: float, *, decay_all: bool, deeper: float = 1.0
) -> list[dict[str, Any]]:
    factor = {id(p): head for p in network.head.parameters()}
    for depth, (_, stage) in enumerate(reversed(network.stages() if deeper != 1 else []), 1):
        factor |= {id(p): deeper**depth for p in stage.parameters()}
    buckets: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            rate = lr * factor.get(id(parameter), 1.0)
            decay = weight_decay if decay_all or parameter.ndim > 1 else 0.0
            buckets.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "peak": rate, "weight_decay": decay}
        for (rate, decay), parameters in buckets.items()
    ]
