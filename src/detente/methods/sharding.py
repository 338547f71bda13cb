"""Memory that is divided among ranks: each of them moves its part of a vector, and all parts are gathered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from detente.errors import require
from detente.optimizers.base import Optimizer, Wrapper
from detente.ranks import Ranks, gathered, part_of, whole_vector
from detente.state import Tree, flatten, unflatten


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


def memory_of_rank(memory: Tree, divided: Collection[str], ranks: Ranks) -> Tree:
    """Return what one rank holds of a state's memory.

    Args:
        memory: the whole memory.
        divided: names in it below which every vector has one number per parameter.
        ranks: the ranks.
    """
    flat = flatten(memory)
    parts = {name: part_of(flat[name], ranks).clone() for name in _vectors(flat, divided)}
    return unflatten(flat | parts, memory)


def whole_memory(memory: Tree, divided: Collection[str], ranks: Ranks) -> Tree:
    """Return a state's memory from what `memory_of_rank` returned on each rank; all ranks must call it."""
    flat = flatten(memory)
    names = _vectors(flat, divided)
    if not names:
        return memory
    lengths = torch.tensor([len(flat[name]) for name in names], device=flat[names[0]].device)
    sizes = gathered(lengths, ranks).sum(0).tolist()
    whole = {name: whole_vector(flat[name], size, ranks) for name, size in zip(names, sizes, strict=True)}
    return unflatten(flat | whole, memory)


def _vectors(flat: Mapping[str, Tensor], divided: Collection[str]) -> list[str]:
    """Return the names of the vectors, (n,), at or below some names."""
    below = tuple(f"{name}/" for name in divided)
    return [name for name, tensor in flat.items() if tensor.dim() == 1 and f"{name}/".startswith(below)]


@dataclass(frozen=True)
class _Sharded(Wrapper):
    elementwise: ClassVar[bool] = True  # it takes all of a direction, or this rank's part of it

    ranks: Ranks

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
        size, part = len(vector), part_of(vector, self.ranks)
        direction_part = part_of(direction, self.ranks) if len(direction) == size else direction
        part, memory = move(part, direction_part, memory, t, None if noise is None else part_of(noise, self.ranks))
        return whole_vector(part, size, self.ranks), memory
