"""The state that training carries from step to step (`State`), and the statistics of one step (`Info`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Tree = dict[str, Any]  # nested dictionaries with tensors as leaves


@dataclass(frozen=True)
class State:
    """Everything that the next step needs, as tensors.

    Args:
        t: number of steps taken, int64, ().
        vectors: each player's parameters, (n_i,).
        buffers: each player's module buffers by name, e.g. BatchNorm's running statistics.
        memory: internal state of the field, the scheme and the optimizers, nested by owner.
    """

    t: Tensor
    vectors: dict[str, Tensor]
    buffers: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    memory: Tree = field(default_factory=dict)

    def tree(self) -> Tree:
        """Return the state as nested dictionaries."""
        return {"t": self.t, "vectors": self.vectors, "buffers": self.buffers, "memory": self.memory}

    def flat(self) -> dict[str, Tensor]:
        """Return the state as one dictionary whose keys are paths such as `memory/optimizers/generator/mean`."""
        return flatten(self.tree())

    @classmethod
    def from_flat(cls, tensors: Mapping[str, Tensor], like: State) -> State:
        """Return a state with the leaves `tensors`, nested as in `like`."""
        return cls(**unflatten(tensors, like.tree()))

    def after(self, **changes: Any) -> State:
        """Return the state of the next step, with `changes` applied."""
        if not changes:
            return State(self.t + 1, self.vectors, self.buffers, self.memory)
        return State(**{**self.tree(), "t": self.t + 1, **changes})


@dataclass(frozen=True)
class Info:
    """Statistics of one step.

    Args:
        losses: each player's loss at its last evaluation, ().
        gradient_norm: Euclidean norm of each player's block of the field at its last evaluation, ().
        gradient_evaluations: cost of the step, in gradients of one player's loss on one batch.
        extra: additional statistics of the method (an acceptance, a noise level), ().
        terms: the named terms of each player's loss, (), in games that name them.
    """

    losses: dict[str, Tensor]
    gradient_norm: dict[str, Tensor]
    gradient_evaluations: float = 0
    extra: dict[str, Tensor] = field(default_factory=dict)
    terms: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    @property
    def finite(self) -> Tensor:
        """Whether every loss and gradient norm is finite, bool, ()."""
        return torch.stack([*self.losses.values(), *self.gradient_norm.values()]).isfinite().all(0)

    def tree(self) -> Tree:
        """Return the tensors as nested dictionaries."""
        return {"losses": self.losses, "gradient_norm": self.gradient_norm, "extra": self.extra, "terms": self.terms}


def flatten(tree: Tree, prefix: str = "") -> dict[str, Tensor]:
    """Return the leaves of nested dictionaries by path, joined with `/`."""
    leaves: dict[str, Tensor] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= flatten(dict(value), f"{prefix}{key}/")
        else:
            leaves[prefix + key] = value
    return leaves


def unflatten(leaves: Mapping[str, Tensor], like: Mapping[str, Any], prefix: str = "") -> Tree:
    """Return `leaves`, nested as in `like`."""
    return {
        key: unflatten(leaves, value, f"{prefix}{key}/") if isinstance(value, Mapping) else leaves[prefix + key]
        for key, value in like.items()
    }
