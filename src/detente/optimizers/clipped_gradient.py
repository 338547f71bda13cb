"""Gradient clipping, around any optimizer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detente.errors import require
from detente.optimizers.base import Wrapper
from detente.schedules.base import Schedule, require_positive, value


@dataclass(frozen=True)
class ClippedGradient(Wrapper):
    """Another optimizer's step, along a clipped direction: v ← min(max(v, −b), b), then v ← v min(1, c/(‖v‖ + 10⁻⁶)).

    ‖v‖ is the Euclidean norm of this player's block of the field. It also clips the direction of methods whose field
    is not the gradient. `Info.gradient_norm` is the norm before clipping. Each bound is optional; with both, values
    are clipped first.

    Args:
        optimizer: the optimizer whose step to take.
        norm: c, > 0, a schedule, or None for no bound on the norm.
        value: b, > 0, a schedule, or None for no bound on the entries.

    Source: Pascanu, Mikolov & Bengio 2013 (arXiv:1211.5063), Algorithm 1; `torch.nn.utils.clip_grad_norm_`, including
        its 10⁻⁶, and `clip_grad_value_`.
    """

    norm: float | Schedule | None = 1.0
    value: float | Schedule | None = None

    def __post_init__(self) -> None:
        require(self.norm is not None or self.value is not None, "norm", None, "a bound on the norm or on the values")
        for name in ("norm", "value"):
            if (bound := getattr(self, name)) is not None:
                require_positive(name, bound)

    @property
    def elementwise(self) -> bool:
        """Whether the wrapped optimizer is, and no norm is needed."""
        return self.norm is None and self.optimizer.elementwise

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the wrapped optimizer's step along the clipped direction."""
        return self.optimizer(vector, self._clip(direction, t), memory, t, noise)

    def step_in_place(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the same as a call; the wrapped optimizer may overwrite `vector` and `memory`."""
        return self.optimizer.step_in_place(vector, self._clip(direction, t), memory, t, noise)

    def _clip(self, direction: Tensor, t: Tensor) -> Tensor:
        if self.value is not None:
            bound = value(self.value, t, direction.dtype)
            direction = torch.clamp(direction, -bound, bound)  # pyright: ignore[reportCallIssue, reportArgumentType]
        if self.norm is not None:
            share = value(self.norm, t, direction.dtype) / (direction.norm() + 1e-6)
            direction = direction * share.clamp(max=1.0).to(direction.dtype)
        return direction
