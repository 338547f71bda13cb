"""The base class of objectives: two losses computed from discriminator scores; each player minimises its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from detente.arguments import Typed
from detente.errors import InvalidValue, require
from detente.schedules.base import at_step, is_scheduled

Scores = Any  # a tensor of any shape, or tensors nested in lists, tuples and dictionaries
LOSSES = ("discriminator_loss", "generator_loss")


def maps(field: str, outputs: Any) -> list[Tensor]:
    """Return the tensors in a discriminator's output, nested in lists, tuples and dictionaries, in their order.

    Raises:
        InvalidValue: there are none, or something else than tensors.
    """
    tensors = tree_leaves(outputs)
    others = [type(leaf).__name__ for leaf in tensors if not isinstance(leaf, Tensor)]
    require(len(tensors) > 0 and not others, field, others or outputs, "a tensor, or tensors in lists or dictionaries")
    return tensors


def map_pairs(real: Any, fake: Any) -> list[tuple[Tensor, Tensor]]:
    """Return each map of real samples with the same map of fake samples.

    Raises:
        InvalidValue: their numbers differ.
    """
    real_maps, fake_maps = maps("real", real), maps("fake", fake)
    allowed = f"as many as for the real samples, {len(real_maps)}"
    require(len(real_maps) == len(fake_maps), "fake", f"{len(fake_maps)} maps", allowed)
    return list(zip(real_maps, fake_maps, strict=True))


def _summed_over_maps(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a loss of one tensor of scores, extended to several maps."""

    @wraps(loss)
    def summed(self: Any, real: Scores | None, fake: Scores) -> Tensor:
        if isinstance(fake, Tensor) and (real is None or isinstance(real, Tensor)):
            return loss(self, real, fake)
        if real is None:
            losses = [loss(self, None, scores) for scores in maps("fake", fake)]
        else:
            losses = [loss(self, *pair) for pair in map_pairs(real, fake)]
        return sum(losses[1:], losses[0])

    return summed


class Objective(Typed, ABC):
    """The losses of the two players of a GAN, as functions of the discriminator's scores (logits).

    Scores may have any shape: (batch,), or maps such as a PatchGAN's (batch, 1, height, width), in which each element
    is a score; the loss is the mean over all elements. They may also be several maps in lists, tuples and dictionaries
    (multi-scale and multi-period discriminators): the loss is then the *sum* of the losses of the maps, as in the code
    of pix2pixHD and HiFi-GAN. For the mean, as in SPADE, EnCodec and AudioCraft, divide it by the number of maps. Every
    tensor counts as scores, so take a discriminator's features out first.

    A concrete objective is a frozen dataclass that defines both losses for one tensor of scores; the base class
    extends them to several. `zero_sum` states that the two losses sum to zero. `generator_needs_real` states that the
    generator's loss also uses the scores of real samples; this is true of every zero-sum objective, so that the values
    sum to zero and not only the gradients. `needs_logits` states that the objective is wrong for scores restricted to
    [0, 1].

    Source: Wang et al. 2018, pix2pixHD (arXiv:1711.11585), equation 2 and code (`GANLoss`); Kong, Kim and Bae 2020,
        HiFi-GAN (arXiv:2010.05646), equations 5-6 and code (`discriminator_loss`, `generator_loss`).
    """

    zero_sum: ClassVar[bool] = False
    generator_needs_real: ClassVar[bool] = False
    needs_logits: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in LOSSES:
            if name in vars(cls):
                setattr(cls, name, _summed_over_maps(vars(cls)[name]))

    @property
    def scheduled(self) -> bool:
        """Whether a setting is a schedule, so that the losses need the step."""
        return is_scheduled(self)

    def at(self, t: Tensor, dtype: torch.dtype | None = None) -> Self:
        """Return the objective with the values of its schedules at step `t`, int64 ().

        For scores of `dtype` float64, schedules compute in float64.
        """
        return at_step(self, t, dtype)

    @abstractmethod
    def discriminator_loss(self, real: Scores, fake: Scores) -> Tensor:
        """Return the discriminator's loss, (), from the scores of real and fake samples: the mean for each map."""

    @abstractmethod
    def generator_loss(self, real: Scores | None, fake: Scores) -> Tensor:
        """Return the generator's loss, (), from scores: the mean for each map; `real` is None if it is not needed."""


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
