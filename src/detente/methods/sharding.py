"""Optimizers whose memory is divided among ranks: each rank moves its part of a vector, and all parts are gathered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from detente.errors import require
from detente.optimizers.base import Optimizer, Wrapper
from detente.ranks import Ranks, gathered

ALIGNED = 64  # numbers: kernels treat the last few of a vector apart, and parts must end where the whole does


def sharded(optimizer: Optimizer, ranks: Ranks) -> Optimizer:
    """Return an optimizer that makes the same moves, to the bit, with 1/R of the memory on each rank.

    Raises:
        InvalidValue: the optimizer's move of a number depends on other numbers.
    """
    if isinstance(optimizer, Wrapper):
        return replace(optimizer, optimizer=sharded(optimizer.optimizer, ranks))
    allowed = "False for an optimizer whose move of a parameter depends on other parameters"
    require(optimizer.elementwise, "shard", True, allowed, f"{type(optimizer).__name__} is one")
    return _Sharded(optimizer, ranks)


def memory_of_rank(optimizer: Optimizer, memory: Mapping[str, Tensor], ranks: Ranks) -> dict[str, Tensor]:
    """Return what one rank holds of an optimizer's whole memory."""
    names = _divided(optimizer)
    return {name: tensor[_own(len(tensor), ranks)] if name in names else tensor for name, tensor in memory.items()}


def whole_memory(optimizer: Optimizer, memory: Mapping[str, Tensor], size: int, ranks: Ranks) -> dict[str, Tensor]:
    """Return the whole memory of an optimizer of a vector of `size` numbers; all ranks must call it."""
    names = _divided(optimizer)
    return {name: _whole(tensor, size, ranks) if name in names else tensor for name, tensor in memory.items()}


def _divided(optimizer: Optimizer) -> set[str]:
    """Return the names of an optimizer's memory that have one number per parameter."""
    probe = torch.zeros(7)
    return {name for name, tensor in optimizer.initial(probe).items() if tensor.shape == probe.shape}


def _length(size: int, ranks: Ranks) -> int:
    """Return the length of all parts but the last."""
    return -(-size // (ranks.count * ALIGNED)) * ALIGNED


def _own(size: int, ranks: Ranks) -> slice:
    length = _length(size, ranks)
    return slice(min(ranks.rank * length, size), min((ranks.rank + 1) * length, size))


def _whole(part: Tensor, size: int, ranks: Ranks) -> Tensor:
    return gathered(pad(part, (0, _length(size, ranks) - len(part))), ranks).flatten()[:size]


@dataclass(frozen=True)
class _Sharded(Wrapper):
    ranks: Ranks

    def initial(self, vector: Tensor) -> dict[str, Tensor]:
        return self.optimizer.initial(vector[_own(len(vector), self.ranks)])

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return self._moved(self.optimizer, vector, direction, memory, t, noise)

    def step_in_place(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return self._moved(self.optimizer.step_in_place, vector, direction, memory, t, noise)

    def _moved(
        self,
        move: Callable[..., tuple[Tensor, dict[str, Tensor]]],
        vector: Tensor,
        direction: Tensor,
        memory: dict[str, Tensor],
        t: Tensor,
        noise: Tensor | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        own = _own(len(vector), self.ranks)
        part, memory = move(vector[own], direction[own], memory, t, None if noise is None else noise[own])
        return _whole(part, len(vector), self.ranks), memory
