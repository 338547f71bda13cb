"""A linear warm-up before another schedule."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from detente.schedules.base import Schedule, is_precise, part, require_finite, require_steps


@dataclass(frozen=True)
class Warmup(Schedule):
    """Another schedule or a number, multiplied by a factor that grows linearly from `start` to 1.

    The schedule does not wait: at step t it is evaluated at t. To begin it after the warm-up, use `then`.

    Args:
        schedule: the value after the warm-up, a number or a schedule.
        steps: number of steps of the warm-up, at least 1.
        start: factor at step 0.
    """

    schedule: float | Schedule
    steps: int
    start: float = 0.0

    def __post_init__(self) -> None:
        require_finite(self, "schedule", "start")
        require_steps(self.steps)

    @property
    def precise(self) -> bool:
        """Whether the schedule can compute in float64."""
        return is_precise(self.schedule)

    def __call__(self, t: Tensor) -> Tensor:
        """Return (start + (1 − start) min(t/steps, 1)) · schedule(t)."""
        return (self.start + (1 - self.start) * (t / self.steps).clamp(max=1.0)) * part(self.schedule, t)
