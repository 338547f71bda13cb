"""The objective, the penalties and the filter of a GAN at one step, and what they remember between steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from detente.arguments import fitting
from detente.errors import InvalidValue
from detente.filters.base import Filter
from detente.game import Batch
from detente.objectives.base import Objective
from detente.penalties.base import Penalty

Memory = dict[str, Tensor]


def initial_memory(penalties: Sequence[Penalty], filter: Filter | None, like: Tensor) -> Memory:
    """Return what the penalties and the filter remember before the first step, named like their random numbers.

    Args:
        penalties: the game's penalties.
        filter: the game's filter.
        like: a parameter of the discriminator, with the dtype and the device to use.
    """
    memory: Memory = {}
    for index, penalty in enumerate(penalties):
        memory |= with_prefix(f"penalty{index}.", penalty.initial_buffers(like))
    return memory if filter is None else memory | with_prefix("filter.", filter.initial_buffers(like))


def at_step(
    objective: Objective,
    penalties: Sequence[Penalty],
    batch: Batch,
    memory: Memory,
    scheduled: bool,
    dtype: torch.dtype,
) -> tuple[Objective, Sequence[Penalty]]:
    """Return the objective and the penalties at a batch's step, with the values of schedules and what they remember.

    Raises:
        InvalidValue: a setting is a schedule, and the batch has no step "t".
    """
    if not (scheduled or memory):
        return objective, penalties
    if scheduled and "t" not in batch:
        allowed = "a batch with the step under 't', since a setting of the game is a schedule"
        raise InvalidValue("batch", sorted(batch), allowed)
    t = batch["t"] if "t" in batch else torch.zeros((), dtype=torch.int64, device=batch["real"].device)
    return objective.at(t, dtype), [
        penalty.at(t, dtype, without_prefix(f"penalty{index}.", memory)) for index, penalty in enumerate(penalties)
    ]


def updated_memory(
    penalties: Sequence[Penalty], filter: Filter | None, memory: Memory, real_scores: Any, fake_scores: Any
) -> Memory:
    """Return the memory after an evaluation of the discriminator's loss, from the scores of its samples."""
    updated = dict(memory)
    for index, penalty in enumerate(penalties):
        buffers = without_prefix(f"penalty{index}.", memory)
        updated |= with_prefix(f"penalty{index}.", penalty.updated_buffers(buffers, real_scores, fake_scores))
    if filter is not None:
        buffers = filter.updated_buffers(without_prefix("filter.", memory), real_scores)
        updated |= with_prefix("filter.", buffers)
    return updated


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with a prefix before their names."""
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start with a prefix, which is removed."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def require_types(batch: Any, latent: Any, objective: Any, penalties: Any, filter: Any) -> int:
    """Return the batch size, a whole number; raise `InvalidValue` for a setting of a GAN of another type."""
    fitting("latent", int | Sequence[int], latent)
    fitting("objective", Objective | str, objective)
    fitting("penalties", Penalty | Sequence[Penalty], penalties)
    fitting("filter", Filter | None, filter)
    return fitting("batch", int, batch)
