"""The role of an objective: two losses from discriminator scores; every player minimises its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor


class Objective(ABC):
    """What the two players of a GAN minimise, as a function of the discriminator's scores (logits).

    A concrete objective is a frozen dataclass. `zero_sum` promises that the two losses sum to zero;
    `generator_needs_real` says that the generator's loss reads the scores of real samples too (every zero-sum
    objective does, so that the promise holds for the values and not only for the gradients).
    """

    zero_sum: ClassVar[bool] = False
    generator_needs_real: ClassVar[bool] = False

    @abstractmethod
    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the discriminator's mean loss, (), from scores of real and of fake samples, each (batch,)."""

    @abstractmethod
    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Return the generator's mean loss, (), from scores, each (batch,); `real` is None where it is not needed."""
