"""RMSProp in PyTorch's and in TensorFlow's variant, which differ strongly in the first steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from detente.errors import require
from detente.optimizers.base import Optimizer, decayed, mixed
from detente.schedules.base import Schedule, require_at_least_zero, require_fraction, require_positive, value


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """PyTorch's RMSProp: s ← α s + (1−α) v², x ← x − η v/(√s + ε), s starts at 0.

    The first steps have length of about η/√(1−α) = 10 η per parameter, independent of the gradient. With weight decay,
    v + λ x takes the place of v.

    Args:
        learning_rate: η, > 0, or a schedule.
        smoothing: α, in [0, 1), or a schedule.
        epsilon: ε, > 0, outside the square root.
        weight_decay: λ, ≥ 0, or a schedule.

    Source: Hinton 2012, lecture 6e; `torch.optim.RMSprop`.
    """

    elementwise: ClassVar[bool] = True

    learning_rate: float | Schedule = 1e-4
    smoothing: float | Schedule = 0.99
    epsilon: float = 1e-8
    weight_decay: float | Schedule = 0.0

    def __post_init__(self) -> None:
        require_at_least_zero(self, "weight_decay")
        _check(self.learning_rate, self.smoothing, self.epsilon)

    def initial(self, vector: Tensor) -> dict[str, Tensor]:
        """Return a zero mean square, (n,)."""
        return {"square": torch.zeros_like(vector)}

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return x − η v/(√s + ε)."""
        direction = decayed(self.weight_decay, vector, direction, t)
        square = mixed(memory["square"], direction * direction, value(self.smoothing, t, vector.dtype))
        move = direction / square.sqrt().add_(self.epsilon)
        return vector - value(self.learning_rate, t, vector.dtype) * move, {"square": square}


@dataclass(frozen=True)
class RMSpropTensorflow(Optimizer):
    """TensorFlow 1's RMSProp: s ← ρ s + (1−ρ) v², x ← x − η v/√(s + ε), s starts at 1.

    The first steps are short where the gradient is small: starting s at 1 acts as a warm-up. The Numerics of GANs used
    this variant.

    Args:
        learning_rate: η, > 0, or a schedule.
        smoothing: ρ, in [0, 1), or a schedule.
        epsilon: ε, > 0, inside the square root.

    Source: `tf.train.RMSPropOptimizer` (TensorFlow 1) with its defaults.
    """

    elementwise: ClassVar[bool] = True

    learning_rate: float | Schedule = 1e-4
    smoothing: float | Schedule = 0.9
    epsilon: float = 1e-10

    def __post_init__(self) -> None:
        _check(self.learning_rate, self.smoothing, self.epsilon)

    def initial(self, vector: Tensor) -> dict[str, Tensor]:
        """Return a mean square of one, (n,)."""
        return {"square": torch.ones_like(vector)}

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return x − η v/√(s + ε)."""
        square = mixed(memory["square"], direction * direction, value(self.smoothing, t, vector.dtype))
        move = direction * (square + self.epsilon).rsqrt_()
        return vector - value(self.learning_rate, t, vector.dtype) * move, {"square": square}


def _check(learning_rate: float | Schedule, smoothing: float | Schedule, epsilon: float) -> None:
    require_positive("learning_rate", learning_rate)
    require_fraction("smoothing", smoothing)
    require(epsilon > 0, "epsilon", epsilon, "a number > 0")
