"""Adam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from detente.autodiff.tracing import is_eager
from detente.errors import require
from detente.optimizers.base import Optimizer
from detente.schedule import Schedule, require_positive, value


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adaptive moments: m ← β₁m + (1−β₁)v, s ← β₂s + (1−β₂)v², x ← x − η m̂/(√ŝ + ε), with hats for bias-corrected.

    Args:
        learning_rate: η, > 0, or a schedule.
        betas: (β₁, β₂), each in [0, 1); GANs are usually trained with β₁ = 0.5 or 0.
        epsilon: ε, > 0.

    Source: Kingma & Ba 2015 (arXiv:1412.6980), Algorithm 1; `torch.optim.Adam`.
    """

    learning_rate: float | Schedule = 1e-4
    betas: tuple[float, float] = (0.5, 0.999)
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        require_positive("learning_rate", self.learning_rate)
        require(all(0 <= beta < 1 for beta in self.betas), "betas", self.betas, "two numbers in [0, 1)")
        require(self.epsilon > 0, "epsilon", self.epsilon, "a number > 0")

    def initial(self, vector: Tensor) -> dict[str, Tensor]:
        """Return zero moments, (n,), and the number of calls, ()."""
        return {
            "count": torch.zeros((), dtype=torch.int64, device=vector.device),
            "mean": torch.zeros_like(vector),
            "square": torch.zeros_like(vector),
        }

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return x − η m̂/(√ŝ + ε)."""
        if is_eager(vector, direction, *memory.values()):
            copies = {name: tensor.clone() for name, tensor in memory.items()}
            return self.step_in_place(vector.clone(), direction, copies, t)
        first, second = self.betas
        count = memory["count"] + 1
        rate = value(self.learning_rate, t, vector.dtype)
        mean = torch.lerp(memory["mean"], direction, 1 - first)
        square = torch.lerp(memory["square"], direction * direction, 1 - second)
        # float64, as in torch.optim: 1 − β₂ᵗ loses four digits in float32.
        correct_mean, correct_root = 1 - first ** count.double(), (1 - second ** count.double()).sqrt()
        step = (rate / correct_mean).to(vector.dtype)
        root = square.sqrt().div_(correct_root.to(vector.dtype)).add_(self.epsilon)
        return vector - step * (mean / root), {"count": count, "mean": mean, "square": square}

    def step_in_place(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Make the same step in place, with one fused kernel, which is faster than eight passes over a large vector."""
        if not is_eager(vector, direction, *memory.values()):
            return self(vector, direction, memory, t)
        count, mean, square = memory["count"] + 1, memory["mean"], memory["square"]
        rate = value(self.learning_rate, t, vector.dtype)
        settings: dict[str, Any] = {"lr": rate, "beta1": self.betas[0], "beta2": self.betas[1], "eps": self.epsilon}
        disabled: dict[str, Any] = {"weight_decay": 0.0, "amsgrad": False, "maximize": False}
        fused = torch._fused_adam_  # pyright: ignore[reportPrivateImportUsage]
        fused([vector], [direction], [mean], [square], [], [count.float()], **settings, **disabled)
        return vector, {"count": count, "mean": mean, "square": square}
