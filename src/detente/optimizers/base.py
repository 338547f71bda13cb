"""The base class of optimizers: the move that a player makes along the field."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from detente.arguments import Typed
from detente.deprecated import adopt
from detente.errors import require
from detente.modules.layout import Layout
from detente.schedules.base import Schedule, value


class Optimizer(Typed, ABC):
    """A map from a player's vector and its block of the field to the player's next vector.

    A concrete optimizer is a frozen dataclass whose fields are its hyper-parameters, each a number or a `Schedule`.
    Its memory holds tensors only.
    """

    traceable: bool = True  # whether steps can be compiled and mapped over seeds
    elementwise: bool = False  # whether each number's move depends on no other number, so that vectors can be divided
    needs_noise: bool = False  # whether each call needs standard normal numbers, (n,)
    needs_covariance: bool = False  # whether it needs the field's covariance of per-sample gradients

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        adopt(cls, {"noisy": "needs_noise", "coloured": "needs_covariance", "overwrite": "step_in_place"})

    def check(self, layouts: Mapping[str, Layout]) -> None:
        """Raise `InvalidValue` if the optimizer does not support the players that use it.

        Args:
            layouts: the layouts of these players' vectors; players without named tensors are left out.
        """
        del layouts

    def for_layout(self, layout: Layout) -> Self:
        """Return the optimizer for a vector of this layout. Default: itself, since most treat all numbers alike."""
        del layout
        return self

    @abstractmethod
    def initial(self, vector: Tensor) -> dict[str, Tensor]:
        """Return the memory before the first step, for a vector (n,)."""

    @abstractmethod
    def __call__(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the next vector, (n,), moved against `direction`, (n,), and the next memory. A pure function.

        Args:
            vector: the player's parameters, (n,).
            direction: the player's block of the field, (n,).
            memory: the memory of the previous call; if `needs_covariance`, also the field's estimate as "covariance".
            t: the training step, int64 (); schedules depend on it.
            noise: standard normal numbers, (n,), if `needs_noise`.
        """

    def observe(self, memory: dict[str, Tensor], metrics: Mapping[str, float]) -> dict[str, Tensor]:
        """Return the memory after a measurement between two steps. Default: unchanged.

        Args:
            memory: the memory of the previous call.
            metrics: the measured values, by name.
        """
        del metrics
        return memory

    def step_in_place(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the same as a call, but possibly overwrite `vector` and `memory`, which the caller must not reuse."""
        return self(vector, direction, memory, t, noise)


def decayed(weight_decay: float | Schedule, vector: Tensor, direction: Tensor, t: Tensor) -> Tensor:
    """Return v + λ x: the direction with L² regularisation. With λ = 0, the direction itself.

    Args:
        weight_decay: λ, a number or a schedule.
        vector: x, (n,).
        direction: v, (n,).
        t: the training step, int64 ().
    """
    if not isinstance(weight_decay, Schedule) and weight_decay == 0:
        return direction
    return direction + value(weight_decay, t, vector.dtype) * vector


def mixed(average: Tensor, latest: Tensor, decay: float | Tensor) -> Tensor:
    """Return β average + (1 − β) latest, for tensors (n,).

    Args:
        average: the running average.
        latest: the latest value.
        decay: β, a number or the value of a schedule, ().
    """
    weight = 1 - decay
    return torch.lerp(average, latest, weight.to(average.dtype) if isinstance(weight, Tensor) else weight)


def require_betas(betas: tuple[float | Schedule, float | Schedule]) -> None:
    """Raise `InvalidValue` unless Adam's (β₁, β₂) are two numbers in [0, 1), or schedules."""
    valid = len(betas) == 2 and all(isinstance(beta, Schedule) or 0 <= beta < 1 for beta in betas)
    require(valid, "betas", betas, "two numbers in [0, 1), or schedules")


@dataclass(frozen=True)
class Wrapper(Optimizer):
    """An optimizer that takes the step of another one and changes what goes in or comes out.

    Args:
        optimizer: the optimizer whose step to take.
    """

    optimizer: Optimizer

    @property
    def traceable(self) -> bool:
        """Whether the wrapped optimizer can be compiled and mapped."""
        return self.optimizer.traceable

    @property
    def needs_noise(self) -> bool:
        """Whether the wrapped optimizer needs noise."""
        return self.optimizer.needs_noise

    @property
    def needs_covariance(self) -> bool:
        """Whether the wrapped optimizer needs a covariance."""
        return self.optimizer.needs_covariance

    def check(self, layouts: Mapping[str, Layout]) -> None:
        """Raise `InvalidValue` if the wrapped optimizer does not support these players."""
        self.optimizer.check(layouts)

    def for_layout(self, layout: Layout) -> Self:
        """Return the wrapper of the optimizer for this layout."""
        optimizer = self.optimizer.for_layout(layout)
        return self if optimizer is self.optimizer else replace(self, optimizer=optimizer)

    def initial(self, vector: Tensor) -> dict[str, Tensor]:
        """Return the wrapped optimizer's memory."""
        return self.optimizer.initial(vector)

    def observe(self, memory: dict[str, Tensor], metrics: Mapping[str, float]) -> dict[str, Tensor]:
        """Return the wrapped optimizer's memory after a measurement."""
        return self.optimizer.observe(memory, metrics)
