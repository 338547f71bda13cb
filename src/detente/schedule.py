"""Hyperparameters that change during training: functions of the step, evaluated inside the step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from detente.errors import require


class Schedule(ABC):
    """Base class of schedules: numbers that depend on the step.

    An int64 step gives a float32 value. If `precise` is True, a schedule also accepts a float64 step, as used with
    float64 vectors, and then computes in float64.
    """

    precise: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, t: Tensor) -> Tensor:
        """Return the value, a float tensor (), at step `t`, int64 () (or float64 if `precise`)."""


@dataclass(frozen=True)
class Linear(Schedule):
    """Linear from `start` to `end` over `steps` steps, then constant.

    Args:
        start: value at step 0.
        end: value from step `steps` on.
        steps: number of steps of the linear part, at least 1.
    """

    precise = True

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps", self.steps, "an integer ≥ 1")

    def __call__(self, t: Tensor) -> Tensor:
        """Return start + (end − start) min(t/steps, 1)."""
        return self.start + (self.end - self.start) * (t / self.steps).clamp(max=1.0)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from `start` to `end` over `steps` steps, then constant.

    Args:
        start: value at step 0.
        end: value from step `steps` on.
        steps: number of steps of the half cosine, at least 1.
    """

    precise = True

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps", self.steps, "an integer ≥ 1")

    def __call__(self, t: Tensor) -> Tensor:
        """Return end + (start − end) (1 + cos(π min(t/steps, 1)))/2."""
        return self.end + (self.start - self.end) * 0.5 * (1 + torch.cos(math.pi * (t / self.steps).clamp(max=1.0)))


@dataclass(frozen=True)
class Exponential(Schedule):
    """Exponential decay from `start`: a factor of `decay` per `steps` steps, applied continuously.

    Args:
        start: value at step 0.
        decay: factor per `steps` steps, > 0.
        steps: number of steps per factor, at least 1.
    """

    precise = True

    start: float
    decay: float
    steps: int

    def __post_init__(self) -> None:
        require(self.decay > 0, "decay", self.decay, "a number > 0")
        require(self.steps >= 1, "steps", self.steps, "an integer ≥ 1")

    def __call__(self, t: Tensor) -> Tensor:
        """Return start · decay^(t/steps)."""
        return self.start * torch.exp(math.log(self.decay) * t / self.steps)


@dataclass(frozen=True)
class Annealed(Schedule):
    """Decay from 1/(offset + 1) to zero, slow at first and then faster and faster.

    Args:
        offset: constant added to the exponential, ≥ 0.
        steps: number of steps after which the exponential is e, at least 1.

    Source: probability of accepting a rejected step in Mangoubi, Sachdeva & Vishnoi's code (decreasing temperature).
    """

    precise = True

    offset: float = 4.0
    steps: int = 20_000

    def __post_init__(self) -> None:
        require(math.isfinite(self.offset) and self.offset >= 0, "offset", self.offset, "a finite number ≥ 0")
        require(self.steps >= 1, "steps", self.steps, "an integer ≥ 1")

    def __call__(self, t: Tensor) -> Tensor:
        """Return 1/(offset + exp((t/steps)²))."""
        return 1 / (self.offset + torch.exp((t / self.steps) ** 2))


def value(setting: float | Schedule, t: Tensor, dtype: torch.dtype | None = None) -> float | Tensor:
    """Return the value of a setting at step `t`.

    Args:
        setting: a number or a schedule.
        t: the step, int64 ().
        dtype: dtype of the vectors that the value is used with. For float64, schedules compute in float64.
    """
    if not isinstance(setting, Schedule):
        return setting
    return setting(t.double() if setting.precise and dtype == torch.float64 else t)


def require_positive(field: str, setting: float | Schedule) -> None:
    """Raise `InvalidValue` unless a plain number is finite and positive."""
    if not isinstance(setting, Schedule):
        require(math.isfinite(setting) and setting > 0, field, setting, "a finite number > 0, or a schedule")
