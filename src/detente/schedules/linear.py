"""A straight line."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from detente.schedules.base import Schedule, require_finite, require_steps


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
        require_finite(self, "start", "end")
        require_steps(self.steps)

    def __call__(self, t: Tensor) -> Tensor:
        """Return start + (end − start) min(t/steps, 1)."""
        return self.start + (self.end - self.start) * (t / self.steps).clamp(max=1.0)
