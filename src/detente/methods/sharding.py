"""Optimizers whose memory is divided among ranks: each rank moves its part of a vector, and all parts are gathered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from detente.errors import require
from detente.optimizers.base import Optimizer, Wrapper
from detente.ranks import Ranks, part_of, whole_vector


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
    return {name: part_of(tensor, ranks).clone() if name in names else tensor for name, tensor in memory.items()}


def whole_memory(optimizer: Optimizer, memory: Mapping[str, Tensor], size: int, ranks: Ranks) -> dict[str, Tensor]:
    """Return the whole memory of an optimizer of a vector of `size` numbers; all ranks must call it."""
    names = _divided(optimizer)
    return {name: whole_vector(tensor, size, ranks) if name in names else tensor for name, tensor in memory.items()}


def _divided(optimizer: Optimizer) -> set[str]:
    """Return the names of an optimizer's memory that have one number per parameter."""
    probe = torch.zeros(7)
    return {name for name, tensor in optimizer.initial(probe).items() if tensor.shape == probe.shape}


@dataclass(frozen=True)
class _Sharded(Wrapper):
    ranks: Ranks

    def initial(self, vector: Tensor) -> dict[str, Tensor]:
        return self.optimizer.initial(part_of(vector, self.ranks))

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
        own = partial(part_of, ranks=self.ranks)
        part, memory = move(own(vector), own(direction), memory, t, None if noise is None else own(noise))
        return whole_vector(part, len(vector), self.ranks), memory
