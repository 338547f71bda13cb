"""Schedules made of other schedules: sum, product, one after the other, and repetition."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detente.schedules.base import Schedule, is_precise, part, require_finite, require_steps


@dataclass(frozen=True)
class _Pair(Schedule):
    """Two schedules that give one number."""

    first: float | Schedule
    second: float | Schedule

    def __post_init__(self) -> None:
        require_finite(self, "first", "second")

    @property
    def precise(self) -> bool:
        """Whether both can compute in float64."""
        return is_precise(self.first, self.second)


@dataclass(frozen=True)
class Sum(_Pair):
    """The sum of two schedules, a(t) + b(t).

    Args:
        first: a, a schedule or a number.
        second: b, a schedule or a number.
    """

    def __call__(self, t: Tensor) -> Tensor:
        """Return a(t) + b(t)."""
        return part(self.first, t) + part(self.second, t)


@dataclass(frozen=True)
class Product(_Pair):
    """The product of two schedules, a(t) b(t).

    Args:
        first: a, a schedule or a number.
        second: b, a schedule or a number.
    """

    def __call__(self, t: Tensor) -> Tensor:
        """Return a(t) b(t)."""
        return part(self.first, t) * part(self.second, t)


@dataclass(frozen=True)
class Sequential(Schedule):
    """One schedule, and from step `at` on another one from its own step 0: a(t) for t < at, then b(t − at).

    Args:
        first: a, a schedule or a number.
        second: b, a schedule or a number.
        at: the first step of b, at least 1.
    """

    first: float | Schedule
    second: float | Schedule
    at: int

    def __post_init__(self) -> None:
        require_finite(self, "first", "second")
        require_steps(self.at, "at")

    @property
    def precise(self) -> bool:
        """Whether both can compute in float64."""
        return is_precise(self.first, self.second)

    def __call__(self, t: Tensor) -> Tensor:
        """Return a(t), or b(t − at)."""
        return torch.where(t < self.at, part(self.first, t), part(self.second, (t - self.at).clamp(min=0)))


@dataclass(frozen=True)
class Repeated(Schedule):
    """A schedule that restarts every `every` steps, a(t mod every).

    Args:
        schedule: a, a schedule or a number.
        every: number of steps between two starts, at least 1.
    """

    schedule: float | Schedule
    every: int

    def __post_init__(self) -> None:
        require_finite(self, "schedule")
        require_steps(self.every, "every")

    @property
    def precise(self) -> bool:
        """Whether the schedule can compute in float64."""
        return is_precise(self.schedule)

    def __call__(self, t: Tensor) -> Tensor:
        """Return a(t mod every)."""
        return part(self.schedule, t % self.every)
