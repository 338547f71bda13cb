"""The base class of schedules: numbers that depend on the training step, evaluated inside the step."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from detente.arguments import Typed
from detente.errors import InvalidValue, require

Part = TypeVar("Part")


class Schedule(Typed, ABC):
    """Base class of schedules: numbers that depend on the step.

    An int64 step gives a float32 value. If `precise` is True, a schedule also accepts a float64 step, as used with
    float64 vectors, and then computes in float64.

    Schedules can be added and multiplied, with each other and with numbers, and follow one another:
    `Linear(0, 1e-4, 500).then(Cosine(1e-4, 0, 10_000), 500)`.
    """

    precise: bool = False

    @abstractmethod
    def __call__(self, t: Tensor) -> Tensor:
        """Return the value, a float tensor (), at step `t`, int64 () (or float64 if `precise`)."""

    def __add__(self, other: float | Schedule) -> Schedule:
        from detente.schedules.combined import Sum

        return Sum(self, other)

    __radd__ = __add__

    def __mul__(self, other: float | Schedule) -> Schedule:
        from detente.schedules.combined import Product

        return Product(self, other)

    __rmul__ = __mul__

    def then(self, other: float | Schedule, at: int) -> Schedule:
        """Return the schedule that continues with `other`, which starts from its own step 0, from step `at` on."""
        from detente.schedules.combined import Sequential

        return Sequential(self, other, at)


def value(setting: float | Schedule, t: Tensor, dtype: torch.dtype | None = None) -> float | Tensor:
    """Return the value of a setting at step `t`.

    Args:
        setting: a number or a schedule.
        t: the step, int64 ().
        dtype: dtype of the vectors that the value is used with. For float64, schedules compute in float64.
    """
    if type(setting) is float or not isinstance(setting, Schedule):  # the first is faster
        return setting
    return setting(t.double() if setting.precise and dtype == torch.float64 else t)


def is_schedule(setting: object) -> bool:
    """Whether a setting is a schedule. It is called in each step, mostly with numbers."""
    return type(setting) is not float and isinstance(setting, Schedule)


def part(setting: float | Schedule, t: Tensor) -> Tensor:
    """Return the value of a part of a schedule, a number or a schedule, at the step that the schedule was called with.

    Args:
        setting: a number or a schedule.
        t: the step, int64 () or float64 ().
    """
    if isinstance(setting, Schedule):
        return setting(t)
    return torch.full((), setting, dtype=torch.float64 if t.dtype == torch.float64 else torch.float32, device=t.device)


def is_precise(*settings: float | Schedule) -> bool:
    """Return whether all parts of a schedule can compute in float64."""
    return all(setting.precise for setting in settings if isinstance(setting, Schedule))


def require_positive(field: str, setting: float | Schedule) -> None:
    """Raise `InvalidValue` unless a plain number is finite and positive."""
    if not isinstance(setting, Schedule):
        require(math.isfinite(setting) and setting > 0, field, setting, "a finite number > 0, or a schedule")


def require_not_negative(field: str, setting: float | Schedule) -> None:
    """Raise `InvalidValue` unless a plain number is finite and not negative."""
    if not isinstance(setting, Schedule):
        require(math.isfinite(setting) and setting >= 0, field, setting, "a finite number ≥ 0, or a schedule")


def require_fraction(field: str, setting: float | Schedule) -> None:
    """Raise `InvalidValue` unless a plain number is in [0, 1)."""
    if not isinstance(setting, Schedule):
        require(0 <= setting < 1, field, setting, "a number in [0, 1), or a schedule")


def require_finite(owner: object, *fields: str) -> None:
    """Raise `InvalidValue` unless these fields of a schedule are finite numbers, or schedules."""
    for field in fields:
        setting = getattr(owner, field)
        finite = isinstance(setting, Schedule) or math.isfinite(setting)
        require(finite, field, setting, "a finite number")


def require_steps(steps: int, field: str = "steps") -> None:
    """Raise `InvalidValue` unless a number of steps is at least 1."""
    require(steps >= 1, field, steps, "an integer ≥ 1")


def require_at_least_zero(owner: object, *fields: str) -> None:
    """Raise `InvalidValue` unless each field of a part of a game is a schedule or a finite number ≥ 0."""
    for field in fields:
        require_not_negative(field, getattr(owner, field))


def is_scheduled(owner: object) -> bool:
    """Whether any attribute of a part of a game is a schedule."""
    return any(map(is_schedule, _attributes(owner).values()))


def at_step(owner: Part, t: Tensor, dtype: torch.dtype | None = None) -> Part:
    """Return a copy of a part of a game with the values at step `t`, int64 (), in place of its schedules."""
    owner = copy.copy(owner)
    for name, setting in _attributes(owner).items():
        if isinstance(setting, Schedule):
            object.__setattr__(owner, name, value(setting, t, dtype))  # the part is a frozen dataclass
    return owner


def number(field: str, setting: float | Schedule) -> float | Tensor:
    """Return a setting that must be a number by now.

    Raises:
        InvalidValue: the setting is still a schedule, so that the step is unknown.
    """
    if isinstance(setting, Schedule):
        raise InvalidValue(field, setting, "a number. A schedule needs the step: call `.at(t)` first")
    return setting


def _attributes(owner: object) -> Mapping[str, Any]:
    return getattr(owner, "__dict__", {})
