"""The role of an optimizer: how far does a player move?"""

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

    needs_noise: bool = False  # whether it wants standard normal numbers, (n,), at each call
    needs_covariance: bool = (
        False  # whether it wants the covariance of per-sample gradients, which the field must then keep
    )

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
        """Return the next vector, (n,), moved against `direction`, (n,), and the next memory. Pure.

        Args:
            vector: where the player is, (n,).
            direction: its block of the field, (n,).
            memory: as left by the last call; where `needs_covariance`, also the field's estimate under "covariance".
            t: the training's step, int64 (); schedules read it.
            noise: standard normal numbers, (n,), where `needs_noise`.
        """

    def step_in_place(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what a call returns, free to overwrite `vector` and `memory`, which nobody else holds."""
        return self(vector, direction, memory, t, noise)
