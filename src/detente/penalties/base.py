"""The base class of penalties: terms of the discriminator's loss that depend on the gradient of its scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor


class Penalty(ABC):
    """A term of the discriminator's loss computed from its input gradient.

    A concrete penalty is a frozen dataclass with a `strength`. Random numbers are inputs, drawn by `draw`, so that the
    same batch always gives the same loss.
    """

    def draw(self, shape: torch.Size, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the random numbers of one evaluation for a real batch of `shape` (batch, …), by name."""
        del shape, generator
        return {}

    @abstractmethod
    def __call__(
        self, score: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, noise: dict[str, Tensor]
    ) -> Tensor:
        """Return the penalty, (), given the discriminator as a function from samples (batch, …) to scores (batch,)."""
