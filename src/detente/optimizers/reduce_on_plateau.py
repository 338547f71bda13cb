"""Smaller steps when a metric stops improving, around any optimizer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from detente.errors import require
from detente.optimizers.base import Wrapper


@dataclass(frozen=True)
class ReduceOnPlateau(Wrapper):
    """Another optimizer's move times a scale s, which starts at 1 and is reduced when a metric stops improving.

    x ← x + s (x' − x) for the optimizer's x';  s ← max(s · factor, least) after more than `patience` measurements
    without improvement

    For optimizers whose move is proportional to their learning rate, which are nearly all, this is a smaller learning
    rate. A training run measures at regular intervals (`measure_every`); s is updated after each of these measurements,
    except the one before the first step. It is part of the optimizer's memory, so that a resumed run continues exactly.
    In your own loop, call `stepper.state = method.observe(stepper.state, {metric: value})`.

    Args:
        optimizer: the optimizer whose step to take.
        metric: name of the metric, from `detente list metrics`; the game must have it.
        better: whether "lower" or "higher" values of the metric are better.
        factor: factor of a reduction, in (0, 1).
        patience: number of measurements without improvement that are tolerated, ≥ 0.
        threshold: smallest change that is an improvement, ≥ 0.
        threshold_mode: whether the threshold is relative to the best value, "relative", or "absolute".
        cooldown: number of measurements after a reduction that are not counted, ≥ 0.
        least: the smallest s, in [0, 1).

    Source: `torch.optim.lr_scheduler.ReduceLROnPlateau`.
    """

    metric: str
    better: Literal["lower", "higher"] = "lower"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: Literal["relative", "absolute"] = "relative"
    cooldown: int = 0
    least: float = 0.0

    def __post_init__(self) -> None:
        require(self.better in ("lower", "higher"), "better", self.better, "'lower' or 'higher'")
        require(0 < self.factor < 1, "factor", self.factor, "a number in (0, 1)")
        for name in ("patience", "cooldown"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "an integer ≥ 0")
        valid = math.isfinite(self.threshold) and self.threshold >= 0
        require(valid, "threshold", self.threshold, "a finite number ≥ 0")
        valid = self.threshold_mode in ("relative", "absolute")
        require(valid, "threshold_mode", self.threshold_mode, "'relative' or 'absolute'")
        require(0 <= self.least < 1, "least", self.least, "a number in [0, 1)")

    @property
    def elementwise(self) -> bool:
        """Whether the wrapped optimizer is."""
        return self.optimizer.elementwise

    def initial(self, vector: Tensor) -> dict[str, Tensor]:
        """Return the wrapped optimizer's memory, the scale, the best value and two counts, each ().

        Raises:
            InvalidValue: the wrapped optimizer reacts to a metric itself.
        """
        inner = self.optimizer.initial(vector)
        is_plain = "plateau_scale" not in inner
        require(
            is_plain, "optimizer", type(self.optimizer).__name__, "an optimizer that does not react to a metric itself"
        )
        numbers = {"scale": 1.0, "best": math.inf if self.better == "lower" else -math.inf}
        counts = {"bad": 0, "cooldown": 0}
        return {
            **inner,
            **{
                f"plateau_{key}": torch.full((), n, dtype=torch.float64).to(vector.device) for key, n in numbers.items()
            },
            **{f"plateau_{key}": torch.full((), n).to(vector.device) for key, n in counts.items()},
        }

    def observe(self, memory: dict[str, Tensor], metrics: Mapping[str, float]) -> dict[str, Tensor]:
        """Return the memory after a measurement; other metrics, and a call without this one, change nothing."""
        memory = super().observe(memory, metrics)
        if self.metric not in metrics:
            return memory
        latest = float(metrics[self.metric])
        scale, best, bad, cooldown = (memory[f"plateau_{key}"].item() for key in ("scale", "best", "bad", "cooldown"))
        improved = self._improves(latest, best)
        best, bad = (latest, 0) if improved else (best, bad + 1)
        if cooldown > 0:
            bad, cooldown = 0, cooldown - 1
        if bad > self.patience:
            scale, bad, cooldown = max(scale * self.factor, self.least), 0, self.cooldown
        numbers = {"scale": scale, "best": best, "bad": bad, "cooldown": cooldown}
        return memory | {f"plateau_{k}": torch.full_like(memory[f"plateau_{k}"], n) for k, n in numbers.items()}

    def _improves(self, latest: float, best: float) -> bool:
        sign = 1 if self.better == "lower" else -1
        if self.threshold_mode == "absolute" or not math.isfinite(best):
            return sign * latest < sign * best - (self.threshold if math.isfinite(best) else 0.0)
        return sign * latest < sign * best * (1 - sign * self.threshold)

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return x + s (x' − x)."""
        plateau_memory = {key: tensor for key, tensor in memory.items() if key.startswith("plateau_")}
        inner = {key: tensor for key, tensor in memory.items() if key not in plateau_memory}
        moved, inner = self.optimizer(vector, direction, inner, t, noise)
        return torch.lerp(vector, moved, plateau_memory["plateau_scale"].to(vector.dtype)), {**inner, **plateau_memory}
