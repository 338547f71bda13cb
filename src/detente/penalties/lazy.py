"""Lazy regularisation: a penalty in every k-th step only, k times as strong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from detente.autodiff.tracing import is_eager
from detente.errors import InvalidValue, require
from detente.penalties.base import Penalty


@dataclass(frozen=True)
class Lazy(Penalty):
    """Another penalty in the steps 0, k, 2k, …, multiplied by k, and 0 in the other steps.

    k R if t mod k = 0, otherwise 0; the mean over k steps is that of R.

    In eager steps, a skipped penalty is not evaluated. Steps that are compiled or mapped over seeds evaluate it always
    and multiply it by 0 or k, so there it saves nothing. A skipped penalty does not update its buffers.

    StyleGAN2 takes a separate step for the penalty, and sets Adam's learning rate to c and its betas to βᶜ with
    c = k/(k + 1). Here the penalty is part of the k-th step's loss, so these corrections do not apply.

    Args:
        penalty: R, a member of `detente.penalties`.
        every: k, at least 1; StyleGAN2 uses 16.

    Raises:
        InvalidValue: `every` is less than 1; when called, the step is unknown because `at` has not been called.

    Source: Karras et al. 2020, Analyzing and Improving the Image Quality of StyleGAN (arXiv:1912.04958), section 3.1
        and appendix B.
    """

    t: ClassVar[Tensor | None] = None

    penalty: Penalty
    every: int = 16

    def __post_init__(self) -> None:
        require(isinstance(self.penalty, Penalty), "penalty", self.penalty, "a member of detente.penalties")
        require(self.every >= 1, "every", self.every, "an integer ≥ 1")

    @property
    def differentiates(self) -> bool:
        """Whether the penalty itself does."""
        return self.penalty.differentiates

    @property
    def scheduled(self) -> bool:
        """True: the penalty depends on the step."""
        return True

    def at(self, t: Tensor, dtype: torch.dtype | None = None, buffers: Mapping[str, Tensor] | None = None) -> Self:
        """Return the penalty as it is at step `t`, int64 ()."""
        lazy = super().at(t, dtype, buffers)
        object.__setattr__(lazy, "penalty", self.penalty.at(t, dtype, buffers))  # frozen dataclass
        object.__setattr__(lazy, "t", t)
        return lazy

    def initial_buffers(self, like: Tensor) -> dict[str, Tensor]:
        """Return the penalty's buffers."""
        return self.penalty.initial_buffers(like)

    def updated_buffers(self, buffers: Mapping[str, Tensor], real: Any, fake: Any) -> dict[str, Tensor]:
        """Return the penalty's buffers after one evaluation, unchanged in steps without the penalty."""
        updated = self.penalty.updated_buffers(buffers, real, fake)
        return {name: torch.where(self._is_evaluated(), tensor, buffers[name]) for name, tensor in updated.items()}

    def draw(self, shape: torch.Size, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the penalty's random numbers, also in steps without it, so that batches do not depend on the step."""
        return self.penalty.draw(shape, generator)

    def __call__(self, score: Callable[[Tensor], Any], real: Tensor, fake: Tensor, noise: dict[str, Tensor]) -> Tensor:
        """Return k times the penalty, or 0, ()."""
        is_evaluated = self._is_evaluated()
        if is_eager(is_evaluated) and not bool(is_evaluated):
            return real.new_zeros(())
        value = self.every * self.penalty(score, real, fake, noise)
        return value if is_eager(is_evaluated) else torch.where(is_evaluated, value, 0.0)

    def _is_evaluated(self) -> Tensor:
        """Return whether the penalty is evaluated in this step, bool ()."""
        if self.t is None:
            raise InvalidValue("t", None, "a step: call `.at(t)` first, since the penalty depends on it")
        return self.t % self.every == 0
