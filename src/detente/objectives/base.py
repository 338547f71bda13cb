"""The base class of objectives: two losses computed from discriminator scores; each player minimises its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from detente.errors import InvalidValue


class Objective(ABC):
    """The losses of the two players of a GAN, as functions of the discriminator's scores (logits).

    A concrete objective is a frozen dataclass. `zero_sum` states that the two losses sum to zero.
    `generator_needs_real` states that the generator's loss also uses the scores of real samples; this is true of every
    zero-sum objective, so that the values sum to zero and not only the gradients. `needs_logits` states that the
    objective is wrong for scores restricted to [0, 1].
    """

    zero_sum: ClassVar[bool] = False
    generator_needs_real: ClassVar[bool] = False
    needs_logits: ClassVar[bool] = True

    @abstractmethod
    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the discriminator's mean loss, (), from the scores of real and fake samples, each (batch,)."""

    @abstractmethod
    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Return the generator's mean loss, (), from scores, each (batch,); `real` is None if it is not needed."""


class ZeroSum(Objective):
    """A zero-sum objective: the generator's loss is the negative of the discriminator's, L_G = −L_D."""

    zero_sum: ClassVar[bool] = True
    generator_needs_real: ClassVar[bool] = True

    def generator_loss(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Return the negative of the discriminator's loss, (), from scores, each (batch,).

        Raises:
            InvalidValue: `real` is None.
        """
        if real is None:
            raise InvalidValue("real", real, "scores of real samples, which a zero-sum loss needs")
        return -self.discriminator_loss(real, fake)
