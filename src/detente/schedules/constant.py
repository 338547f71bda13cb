"""A constant."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from detente.schedules.base import Schedule, part, require_finite


@dataclass(frozen=True)
class Constant(Schedule):
    """The same value at every step.

    Args:
        value: the value.
    """

    precise = True

    value: float

    def __post_init__(self) -> None:
        require_finite(self, "value")

    def __call__(self, t: Tensor) -> Tensor:
        """Return the value."""
        return part(self.value, t)
