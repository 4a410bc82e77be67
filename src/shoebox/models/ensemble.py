"""Several networks of one kind that train in turn and answer together, with the mean of their logits.

Each begins from other random filters, so each errs elsewhere, and the mean errs less than any of them (deep ensembles:
Lakshminarayanan et al. 2017, arXiv:1612.01474). Several middling networks beat one wide one that trains as long
(Lobacheva et al. 2020, arXiv:2007.08483).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from shoebox.models.network import Network


class Heads(nn.Module):
    """The heads of the members, each for its own part of the features: (N, M·D) → (N, classes), the mean of M logits.

    Attributes:
        answering: which members the features are of.
    """

    def __init__(self, heads: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(heads)
        self.answering = range(len(self.members))

    def forward(self, features: Tensor) -> Tensor:
        parts = features.chunk(len(self.answering), dim=1)
        logits = [self.members[i](part) for i, part in zip(self.answering, parts, strict=True)]
        return torch.stack(logits).mean(0)


class Ensemble(Network):
    """See the module's docstring.

    Features are those of the members side by side. While one trains (`turn`), they are its own in training mode, and in
    evaluation mode those of the members that have finished, or of the first until it has.

    Args:
        members: networks alike; each gives its head away.
    """

    answering: Tensor
    head: Heads

    def __init__(self, members: Sequence[Network]) -> None:
        super().__init__()
        self.head = Heads(member.head for member in members)
        for member in members:
            member.head = nn.Identity()
        self.members = nn.ModuleList(members)
        self.repeats = all(member.repeats for member in members)
        self.trains: int | None = None
        # Python's own number is used, so that nothing waits for a device; the tensor is saved with the weights.
        self.finished = len(members)
        self.register_buffer("answering", torch.tensor(self.finished))

    def each(self) -> list[Network]:
        return [member for member in self.members if isinstance(member, Network)]

    def features(self, x: Tensor) -> Tensor:
        return torch.cat([self.members[i](x) for i in self.head.answering], dim=1)

    def stages(self) -> list[tuple[str, nn.Module]]:
        rows = zip(*(member.stages() for member in self.each()), strict=True)
        return [(row[0][0], nn.ModuleList(stage for _, stage in row)) for row in rows]

    def prepare(self, pictures: Tensor) -> None:
        for member in self.each():
            member.prepare(pictures)

    def turn(self, share: float) -> float:
        each, count = self.each(), len(self.members)
        before, self.trains = self.trains, min(int(share * count), count - 1)
        if self.trains != before or share >= 1:
            self.finished = count if share >= 1 else max(self.trains, 1)
            self.answering.fill_(self.finished)
            self.zero_grad()  # what the last one has gathered would be a step of it at the next one's rate
            self._choose()
        return each[self.trains].turn(min(share * count - self.trains, 1.0))

    def member(self) -> int:
        return (self.trains or 0) + 1

    def train(self, mode: bool = True) -> "Ensemble":
        super().train(mode)
        self._choose()
        return self

    def _choose(self) -> None:
        if self.training and self.trains is not None:
            self.head.answering = range(self.trains, self.trains + 1)
        else:
            self.head.answering = range(self.finished)

    def resting(self, share: float) -> Iterable[nn.Parameter]:
        return self.each()[self.trains or 0].resting(share)

    def offsets(self) -> Iterable[nn.Parameter]:
        return [parameter for member in self.each() for parameter in member.offsets()]

    def fixed(self) -> Iterable[nn.Parameter]:
        return [parameter for member in self.each() for parameter in member.fixed()]

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        # Weights of one network alone have no such number; what else they lack is said by torch.
        self.finished, self.trains = int(state_dict.get(f"{prefix}answering", len(self.members))), None
        self._choose()
        super()._load_from_state_dict(state_dict, prefix, *rest)
