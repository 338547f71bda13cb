"""The base class of optimizers: the move that a player makes along the field."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from detente.deprecated import adopt


class Optimizer(ABC):
    """A map from a player's vector and its block of the field to the player's next vector.

    A concrete optimizer is a frozen dataclass whose fields are its hyper-parameters, each a number or a `Schedule`.
    Its memory holds tensors only.
    """

    needs_noise: bool = False  # whether each call needs standard normal numbers, (n,)
    needs_covariance: bool = False  # whether it needs the field's covariance of per-sample gradients

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        adopt(cls, {"noisy": "needs_noise", "coloured": "needs_covariance", "overwrite": "step_in_place"})

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
