"""The base class of filters: maps of real and generated samples to what the discriminator sees."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from detente.arguments import Typed
from detente.errors import require
from detente.schedules.base import Schedule, value

Strength = float | Schedule


class Filter(Typed, ABC):
    """A shape-preserving map A_λ on samples, the same for real and generated samples.

    A concrete filter is a frozen dataclass with `strengths`: one λ or several. With several, each sample is scored at
    each λ (an augmentation), and the losses are averaged. Random numbers are inputs, drawn by `draw`, so that the same
    batch always gives the same loss.

    A filter may remember tensors, such as a strength that adapts: `initial_buffers` are part of the state's
    buffers, `at` receives them, and `updated_buffers` returns the next ones. A call never changes them.
    """

    strengths: Strength | tuple[Strength, ...]

    @property
    def every(self) -> tuple[Strength, ...]:
        """All strengths, as a tuple."""
        return _as_tuple(self.strengths)

    @property
    def scheduled(self) -> bool:
        """Whether a strength changes during training."""
        return any(isinstance(strength, Schedule) for strength in self.every)

    def at(
        self, t: Tensor | None, dtype: torch.dtype | None = None, buffers: Mapping[str, Tensor] | None = None
    ) -> list[float | Tensor]:
        """Return all strengths λ at one step.

        Args:
            t: the training step, int64 (); may be None if no strength is a schedule.
            dtype: dtype of the samples. For float64, schedules compute in float64.
            buffers: the tensors that the filter remembers; none for most filters.
        """
        del buffers
        if t is None:
            return [strength for strength in self.every if not isinstance(strength, Schedule)]
        return [value(strength, t, dtype) for strength in self.every]

    def initial_buffers(self, like: Tensor) -> dict[str, Tensor]:
        """Return the tensors to remember before the first step, with the dtype and the device of `like`."""
        del like
        return {}

    def updated_buffers(self, buffers: Mapping[str, Tensor], real: Any) -> dict[str, Tensor]:
        """Return the buffers after one evaluation of the discriminator, given its scores of real samples."""
        del real
        return dict(buffers)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `InvalidValue` if the filter does not support samples of a shape (without the batch dimension)."""
        del shape

    def draw(self, shape: torch.Size, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the random numbers of one batch of samples of `shape` (batch, …), by name."""
        del shape, generator
        return {}

    @abstractmethod
    def __call__(self, samples: Tensor, noise: dict[str, Tensor], strength: float | Tensor) -> Tensor:
        """Return the filtered samples, (batch, …), differentiable with respect to the samples.

        Args:
            samples: real or generated samples, (batch, …).
            noise: the random numbers of `draw`.
            strength: λ, an element of `at`.
        """


def require_strengths(strengths: Strength | tuple[Strength, ...], most: float = math.inf) -> None:
    """Raise `InvalidValue` unless strengths are one or more finite numbers in [0, most] or schedules."""
    every = _as_tuple(strengths)
    bound = "a finite number ≥ 0" if math.isinf(most) else f"a number in [0, {most:g}]"
    allowed = f"{bound}, a schedule, or several of these"
    require(len(every) > 0, "strengths", strengths, allowed)
    for strength in every:
        require(
            isinstance(strength, Schedule) or (math.isfinite(strength) and 0 <= strength <= most),
            "strengths",
            strengths,
            allowed,
        )


def _as_tuple(strengths: Strength | tuple[Strength, ...]) -> tuple[Strength, ...]:
    return tuple(strengths) if isinstance(strengths, tuple | list) else (strengths,)
