"""Adaptive augmentation: a filter becomes stronger while the discriminator overfits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from detente.errors import require
from detente.filters.base import Filter, Strength
from detente.ranks import batch_mean, batch_size


@dataclass(frozen=True)
class AdaptiveAugmentation(Filter):
    """Another filter, with a strength p that follows how sure the discriminator is of real samples.

    p ← p + sign(r_t - target) · images/length,  clamped to [0, 1],  r_t = E[sign D(x_real)] over `interval` evaluations
    with that many images.

    r_t is 1 where the discriminator recognises all (augmented) real samples, a sign of overfitting, and 0 where it
    guesses. p is the probability of the augmentations of `DiffAugment`, or the strength of any other filter, e.g. the
    noise of `GaussianSmoothing`. As in the paper, p is changed when the discriminator is trained. The paper clamps p at
    0 only. Its own set of eighteen augmentations is not part of this package.

    With gradient accumulation, a part of a batch counts as the batch, so that p changes more slowly.

    In your own losses: `p = filter.at(t, buffers=memory)[0]` and `memory = filter.updated_buffers(memory, real)`,
    with `filter.initial_buffers(like)` at the start.

    Args:
        filter: a member of `detente.filters`; its own strengths are not used.
        strengths: the initial p, one number in [0, 1].
        target: the value of r_t to hold, in [-1, 1].
        length: number of real images in which p can rise from 0 to 1, at least 1.
        interval: evaluations of the discriminator between two changes of p, at least 1.

    Raises:
        InvalidValue: an argument is out of range.

    Source: Karras et al. 2020, Training Generative Adversarial Networks with Limited Data (arXiv:2006.06676), equation
        1 and section 3; code (NVlabs/stylegan2-ada-pytorch, `training_loop.py`).
    """

    filter: Filter
    strengths: Strength | tuple[Strength, ...] = 0.0
    target: float = 0.6
    length: int = 500_000
    interval: int = 4

    def __post_init__(self) -> None:
        require(isinstance(self.filter, Filter), "filter", self.filter, "a member of detente.filters")
        initial = isinstance(self.strengths, int | float) and 0 <= self.strengths <= 1
        require(initial, "strengths", self.strengths, "one number in [0, 1], the initial p")
        require(-1 <= self.target <= 1, "target", self.target, "a number in [-1, 1]")
        require(self.length >= 1, "length", self.length, "an integer ≥ 1")
        require(self.interval >= 1, "interval", self.interval, "an integer ≥ 1")

    def at(
        self, t: Tensor | None, dtype: torch.dtype | None = None, buffers: Mapping[str, Tensor] | None = None
    ) -> list[float | Tensor]:
        """Return `[p]`."""
        return [buffers["augmentation"][0].to(dtype)] if buffers else super().at(t, dtype)

    def initial_buffers(self, like: Tensor) -> dict[str, Tensor]:
        """Return `{"augmentation": (4,)}`: p, and since its last change the sum of E[sign], evaluations and images."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {"augmentation": torch.tensor([self.strengths, 0.0, 0.0, 0.0], dtype=dtype, device=like.device)}

    def updated_buffers(self, buffers: Mapping[str, Tensor], real: Any) -> dict[str, Tensor]:
        """Return the buffers after one evaluation of the discriminator, given its scores of real samples."""
        maps = tree_leaves(real)
        sign = torch.stack([batch_mean(scores.sign()) for scores in maps]).mean()
        p, signs, evaluations, images = buffers["augmentation"].unbind()
        signs, evaluations, images = signs + sign.to(signs.dtype), evaluations + 1, images + batch_size(maps[0])
        moved = (p + (signs / evaluations - self.target).sign() * images / self.length).clamp(0, 1)
        changed = torch.stack([moved, *[torch.zeros_like(p)] * 3])
        unchanged = torch.stack([p, signs, evaluations, images])
        return {"augmentation": torch.where(evaluations >= self.interval, changed, unchanged)}

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `InvalidValue` if the filter does not support samples of a shape."""
        self.filter.check(shape)

    def draw(self, shape: torch.Size, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the filter's random numbers."""
        return self.filter.draw(shape, generator)

    def __call__(self, samples: Tensor, noise: dict[str, Tensor], strength: float | Tensor) -> Tensor:
        """Return the samples filtered with the strength p."""
        return self.filter(samples, noise, strength)
