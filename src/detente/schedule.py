"""Hyperparameters that change during training: functions of the step, evaluated inside the step."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from detente.errors import InvalidValue, require

Part = TypeVar("Part")


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


def require_at_least_zero(part: object, *fields: str) -> None:
    """Raise `InvalidValue` unless each field of a part is a schedule or a finite number ≥ 0."""
    for field in fields:
        setting = getattr(part, field)
        accepted = isinstance(setting, Schedule) or (math.isfinite(setting) and setting >= 0)
        require(accepted, field, setting, "a finite number ≥ 0, or a schedule")


def is_scheduled(part: object) -> bool:
    """Whether any attribute of a part of a game is a schedule."""
    return any(isinstance(setting, Schedule) for setting in _attributes(part).values())


def at_step(part: Part, t: Tensor, dtype: torch.dtype | None = None) -> Part:
    """Return a copy of a part of a game with the values at step `t`, int64 (), in place of its schedules."""
    part = copy.copy(part)
    for name, setting in _attributes(part).items():
        if isinstance(setting, Schedule):
            object.__setattr__(part, name, value(setting, t, dtype))  # the part is a frozen dataclass
    return part


def number(field: str, setting: float | Schedule) -> float | Tensor:
    """Return a setting that must be a number by now.

    Raises:
        InvalidValue: the setting is still a schedule, so that the step is unknown.
    """
    if isinstance(setting, Schedule):
        raise InvalidValue(field, setting, "a number. A schedule needs the step: call `.at(t)` first")
    return setting


def _attributes(part: object) -> Mapping[str, Any]:
    return getattr(part, "__dict__", {})
