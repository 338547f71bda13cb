"""The base class of optimizers: the move that a player makes along the field."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from torch import Tensor

from detente.deprecated import adopt
from detente.modules.layout import Layout


class Optimizer(ABC):
    """A map from a player's vector and its block of the field to the player's next vector.

    A concrete optimizer is a frozen dataclass whose fields are its hyper-parameters, each a number or a `Schedule`.
    Its memory holds tensors only.
    """

    traceable: bool = True  # whether steps can be compiled and mapped over seeds
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

    def step_in_place(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the same as a call, but possibly overwrite `vector` and `memory`, which the caller must not reuse."""
        return self(vector, direction, memory, t, noise)


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
