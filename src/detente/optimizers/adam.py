"""Adam, AMSGrad and AdamW."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from detente.autodiff.tracing import is_eager
from detente.errors import require
from detente.optimizers.base import Optimizer, decayed, mixed, require_betas
from detente.schedules.base import Schedule, is_schedule, require_at_least_zero, require_positive, value


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adaptive moments: m ← β₁m + (1−β₁)v, s ← β₂s + (1−β₂)v², x ← x − η m̂/(√ŝ + ε), with hats for bias-corrected.

    Args:
        learning_rate: η, > 0, or a schedule.
        betas: (β₁, β₂), each in [0, 1) or a schedule; GANs are usually trained with β₁ = 0.5 or 0.
        epsilon: ε, > 0.
        weight_decay: λ, ≥ 0, or a schedule: L² regularisation, v ← v + λx before everything else. For decoupled weight
            decay, use `AdamW`.
        amsgrad: whether √ŝ uses the largest s so far (AMSGrad), which keeps steps from growing again.

    Source: Kingma & Ba 2015 (arXiv:1412.6980), Algorithm 1; Reddi, Kale & Kumar 2018 (arXiv:1904.09237), Algorithm 2,
        for AMSGrad; `torch.optim.Adam`.
    """

    elementwise: ClassVar[bool] = True
    decoupled: ClassVar[bool] = False

    learning_rate: float | Schedule = 1e-4
    betas: tuple[float | Schedule, float | Schedule] = (0.5, 0.999)
    epsilon: float = 1e-8
    weight_decay: float | Schedule = 0.0
    amsgrad: bool = False

    def __post_init__(self) -> None:
        require_positive("learning_rate", self.learning_rate)
        require_betas(self.betas)
        require(self.epsilon > 0, "epsilon", self.epsilon, "a number > 0")
        require_at_least_zero(self, "weight_decay")

    def initial(self, vector: Tensor) -> dict[str, Tensor]:
        """Return zero moments, (n,), and the number of calls, ()."""
        moments = ("mean", "square", "largest") if self.amsgrad else ("mean", "square")
        return {
            "count": torch.zeros((), dtype=torch.int64, device=vector.device),
            **{name: torch.zeros_like(vector) for name in moments},
        }

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return x − η m̂/(√ŝ + ε)."""
        if self._has_kernel(vector, direction, *memory.values()):
            copies = {name: tensor if name == "count" else tensor.clone() for name, tensor in memory.items()}
            return self._overwrite(vector.clone(), direction, copies, t)
        first, second = (value(beta, t, vector.dtype) for beta in self.betas)
        rate = value(self.learning_rate, t, vector.dtype)
        if self.decoupled:
            vector = vector * (1 - rate * value(self.weight_decay, t, vector.dtype))
        else:
            direction = decayed(self.weight_decay, vector, direction, t)
        count = memory["count"] + 1
        mean = mixed(memory["mean"], direction, first)
        square = mixed(memory["square"], direction * direction, second)
        largest = {"largest": torch.maximum(memory["largest"], square)} if self.amsgrad else {}
        # float64, as in torch.optim: 1 − β₂ᵗ loses four digits in float32.
        correct_mean, correct_root = 1 - first ** count.double(), (1 - second ** count.double()).sqrt()
        step = (rate / correct_mean).to(vector.dtype)
        root = largest.get("largest", square).sqrt().div_(correct_root.to(vector.dtype)).add_(self.epsilon)
        return vector - step * (mean / root), {"count": count, "mean": mean, "square": square, **largest}

    def step_in_place(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Make the same step in place, with one fused kernel, which is faster than eight passes over a large vector."""
        if not self._has_kernel(vector, direction, *memory.values()):
            return self(vector, direction, memory, t)
        return self._overwrite(vector, direction, memory, t)

    def _overwrite(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        count = memory["count"] + 1
        fused: Any = torch._fused_adamw_ if self.decoupled else torch._fused_adam_  # pyright: ignore[reportPrivateImportUsage]
        settings: Any = self._settings  # without the learning rate, which may be a schedule
        fused(
            [vector],
            [direction],
            [memory["mean"]],
            [memory["square"]],
            [memory["largest"]] if self.amsgrad else [],
            [count.float()],
            lr=value(self.learning_rate, t, vector.dtype),
            **settings,
        )
        return vector, {**memory, "count": count}

    def _has_kernel(self, *tensors: Tensor) -> bool:
        """Whether torch's fused kernel can make the step: on ordinary tensors, with numbers as settings."""
        return self._has_numbers and is_eager(*tensors)

    @cached_property
    def _settings(self) -> dict[str, Any]:
        settings = {"beta1": self.betas[0], "beta2": self.betas[1], "eps": self.epsilon, "amsgrad": self.amsgrad}
        return {**settings, "weight_decay": self.weight_decay, "maximize": False}

    @cached_property
    def _has_numbers(self) -> bool:
        return not any(map(is_schedule, (*self.betas, self.weight_decay)))


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: x ← x − η λ x, then Adam's step along v.

    Args:
        learning_rate: η, > 0, or a schedule.
        betas: (β₁, β₂), each in [0, 1) or a schedule.
        epsilon: ε, > 0.
        weight_decay: λ, ≥ 0, or a schedule. It applies to all parameters; for groups of parameters, use `Torch`.
        amsgrad: whether √ŝ uses the largest s so far (AMSGrad).

    Source: Loshchilov & Hutter 2019 (arXiv:1711.05101), Algorithm 2; `torch.optim.AdamW`.
    """

    decoupled: ClassVar[bool] = True

    weight_decay: float | Schedule = 0.01
