"""The role of a filter: a loss of detail in whatever the discriminator sees, real or generated."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from detente.errors import require
from detente.schedule import Schedule, value

Strength = float | Schedule


class Filter(ABC):
    """A map A_λ on samples that keeps their shape, the same for real and generated ones.

    A concrete filter is a frozen dataclass with `strengths`: one λ, or several, at each of which every sample is then
    scored (an augmentation), the losses being averaged over them. Its randomness is an input (`draw`), so that the
    same batch always gives the same loss.
    """

    strengths: Strength | tuple[Strength, ...]

    @property
    def every(self) -> tuple[Strength, ...]:
        """All strengths, be it one."""
        return _several(self.strengths)

    @property
    def scheduled(self) -> bool:
        """Whether a strength changes over training."""
        return any(isinstance(strength, Schedule) for strength in self.every)

    def at(self, t: Tensor | None, dtype: torch.dtype | None = None) -> list[float | Tensor]:
        """Return all strengths λ at the training's step `t`, int64 (); None where no strength is a schedule.

        For samples of `dtype` float64, schedules compute in float64.
        """
        if t is None:
            return [strength for strength in self.every if not isinstance(strength, Schedule)]
        return [value(strength, t, dtype) for strength in self.every]

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `InvalidValue` where samples of a shape, without the batch, cannot be filtered."""
        del shape

    def draw(self, shape: torch.Size, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the random numbers of one batch of samples of `shape` (batch, …), by name."""
        del shape, generator
        return {}

    @abstractmethod
    def __call__(self, samples: Tensor, noise: dict[str, Tensor], strength: float | Tensor) -> Tensor:
        """Return the samples filtered, in their shape (batch, …), differentiable.

        Args:
            samples: real or generated, (batch, …).
            noise: as `draw` drew it.
            strength: λ, one of `at`.
        """


def require_strengths(strengths: Strength | tuple[Strength, ...]) -> None:
    """Raise `InvalidValue` unless strengths are finite numbers ≥ 0 or schedules, and at least one."""
    every = _several(strengths)
    allowed = "a finite number ≥ 0, a schedule, or several of these"
    require(len(every) > 0, "strengths", strengths, allowed)
    for strength in every:
        require(
            isinstance(strength, Schedule) or (math.isfinite(strength) and strength >= 0),
            "strengths",
            strengths,
            allowed,
        )


def _several(strengths: Strength | tuple[Strength, ...]) -> tuple[Strength, ...]:
    return tuple(strengths) if isinstance(strengths, tuple | list) else (strengths,)
