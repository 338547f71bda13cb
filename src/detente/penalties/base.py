"""The base class of penalties: terms of the discriminator's loss that depend on its scores or their gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from detente.arguments import Typed
from detente.schedules.base import at_step, is_scheduled


class Penalty(Typed, ABC):
    """A term of the discriminator's loss computed from its scores, or from their gradient at samples.

    A concrete penalty is a frozen dataclass with a `strength`. Random numbers are inputs, drawn by `draw`, so that the
    same batch always gives the same loss. A discriminator may return maps of scores, or several in lists, tuples and
    dictionaries: the score of a sample is then the *sum* of all its scores, as in common implementations, which
    differentiate the sum of all outputs.

    A penalty may remember tensors, such as moving averages: `initial_buffers` are part of the state's
    buffers, `at` receives them, a call reads them in `memory`, and `updated_buffers` returns the next ones.
    """

    memory: ClassVar[Mapping[str, Tensor]] = {}

    @property
    def differentiates(self) -> bool:
        """Whether the penalty is a function of the scores' gradient, so that losses are differentiated twice."""
        return True

    @property
    def scheduled(self) -> bool:
        """Whether the penalty depends on the step."""
        return is_scheduled(self)

    def at(self, t: Tensor, dtype: torch.dtype | None = None, buffers: Mapping[str, Tensor] | None = None) -> Self:
        """Return the penalty as it is at one step: with the values of its schedules, and with its buffers.

        Args:
            t: the step, int64 ().
            dtype: dtype of the samples. For float64, schedules compute in float64.
            buffers: the tensors that the penalty remembers; none for most penalties.
        """
        penalty = at_step(self, t, dtype)
        object.__setattr__(penalty, "memory", buffers or {})  # the penalty is a frozen dataclass
        return penalty

    def initial_buffers(self, like: Tensor) -> dict[str, Tensor]:
        """Return the tensors to remember before the first step, with the dtype and the device of `like`."""
        del like
        return {}

    def updated_buffers(self, buffers: Mapping[str, Tensor], real: Any, fake: Any) -> dict[str, Tensor]:
        """Return the buffers after one evaluation, given the scores of real and fake samples."""
        del real, fake
        return dict(buffers)

    def draw(self, shape: torch.Size, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the random numbers of one evaluation for a real batch of `shape` (batch, …), by name."""
        del shape, generator
        return {}

    @abstractmethod
    def __call__(self, score: Callable[[Tensor], Any], real: Tensor, fake: Tensor, noise: dict[str, Tensor]) -> Tensor:
        """Return the penalty, (), given the discriminator as a function from samples (batch, …) to their scores."""


def score_per_sample(scores: Any) -> Tensor:
    """Return the sum of all scores of each sample, (batch,), from scores of any shape, also several in lists."""
    sums: list[Tensor] = [tensor.flatten(1).sum(1) if tensor.dim() > 1 else tensor for tensor in tree_leaves(scores)]
    return sum(sums[1:], sums[0])


def gradient_norm(gradient: Tensor) -> Tensor:
    """Return the norm of each sample's gradient, (batch,), with derivative zero at a zero gradient."""
    squared = gradient.flatten(1).square().sum(1)
    positive = squared > 0
    # sqrt has derivative ∞ at 0, and ∞ · 0 would be NaN, so replace both its argument and its value there.
    return torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0)
