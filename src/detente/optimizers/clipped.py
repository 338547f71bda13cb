"""Weight clipping, around any optimizer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from detente.errors import require
from detente.optimizers.base import Wrapper


@dataclass(frozen=True)
class Clipped(Wrapper):
    """Another optimizer's step, then every parameter clipped to a box: x ← min(max(x, −c), c).

    To clip gradients instead of parameters, use `ClippedGradient`.

    Args:
        optimizer: the optimizer whose step to take.
        bound: c, > 0; the WGAN paper uses 0.01, for the critic only.

    Source: Arjovsky, Chintala & Bottou 2017, Wasserstein GAN (arXiv:1701.07875), Algorithm 1.
    """

    bound: float = 0.01

    def __post_init__(self) -> None:
        require(self.bound > 0, "bound", self.bound, "a number > 0")

    @property
    def elementwise(self) -> bool:
        """Whether the wrapped optimizer is."""
        return self.optimizer.elementwise

    def __call__(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the wrapped optimizer's vector, clipped."""
        after_step, memory = self.optimizer(vector, direction, memory, t, noise)
        return after_step.clamp(-self.bound, self.bound), memory

    def step_in_place(
        self, vector: Tensor, direction: Tensor, memory: dict[str, Tensor], t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the same as a call; the wrapped optimizer may overwrite `vector` and `memory`."""
        after_step, memory = self.optimizer.step_in_place(vector, direction, memory, t, noise)
        return after_step.clamp(-self.bound, self.bound), memory
