"""Hyper-parameters that change over training: functions of the step counter, evaluated inside the step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from detente.errors import require


class Schedule(ABC):
    """A number that depends on the step.

    `precise` says that a call also takes the step as float64 and then computes in float64, as for vectors of float64;
    from an int64 step the value is float32.
    """

    precise: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, t: Tensor) -> Tensor:
        """Return the value at step `t`, int64 () (or float64, where `precise`), as a float tensor ()."""


@dataclass(frozen=True)
class Linear(Schedule):
    """From `start` to `end` in a straight line over `steps` steps, then constant.

    Args:
        start: value at step 0.
        end: value from step `steps` on.
        steps: length of the line, at least 1.
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
    """From `start` to `end` along half a cosine over `steps` steps, then constant.

    Args:
        start: value at step 0.
        end: value from step `steps` on.
        steps: length of the half wave, at least 1.
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
    """From `start`, multiplied by `decay` every `steps` steps (smoothly).

    Args:
        start: value at step 0.
        decay: factor per `steps` steps, > 0.
        steps: how many steps one factor takes, at least 1.
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
    """From 1/(offset + 1), slowly at first and then ever faster, to nothing.

    Args:
        offset: what the exponential is added to, ≥ 0.
        steps: after how many steps the exponential is e, at least 1.

    Source: the probability of accepting anyway in Mangoubi, Sachdeva & Vishnoi's code (decreasing temperature).
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
    """Return the setting at step `t`.

    Args:
        setting: a number or a schedule.
        t: the step, int64 ().
        dtype: of the vectors it is used with: for float64, schedules compute in float64.
    """
    if not isinstance(setting, Schedule):
        return setting
    return setting(t.double() if setting.precise and dtype == torch.float64 else t)


def require_positive(field: str, setting: float | Schedule) -> None:
    """Raise `InvalidValue` unless a plain number is finite and positive."""
    if not isinstance(setting, Schedule):
        require(math.isfinite(setting) and setting > 0, field, setting, "a finite number > 0, or a schedule")
