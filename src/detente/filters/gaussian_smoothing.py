"""Gaussian noise on samples, which convolves their distribution with a Gaussian."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detente.filters.base import Filter, Strength, require_strengths


@dataclass(frozen=True)
class GaussianSmoothing(Filter):
    """Gaussian noise on each sample: A_λ(x) = x + λ η, η ~ N(0, I), so that a density p becomes p ∗ N(0, λ²I).

    Equal densities stay equal and different densities stay different, but densities with disjoint supports now overlap.
    Works for points and for any other samples.

    With a schedule that ends at 0, this is instance noise: `GaussianSmoothing(Linear(0.1, 0.0, 20_000))`.

    Args:
        strengths: λ ≥ 0 in the samples' unit, or a schedule, or several of these; 0 changes nothing.

    Source: NIPS 2017 submission on noisy discriminator gradients, section 2 (coarse graining); as noise on the
        discriminator's inputs: Sønderby et al. 2017 (arXiv:1610.04490), section 3.2, annealed there; Arjovsky and
        Bottou 2017 (arXiv:1701.04862), section 3.
    """

    strengths: Strength | tuple[Strength, ...] = 0.1

    def __post_init__(self) -> None:
        require_strengths(self.strengths)

    def draw(self, shape: torch.Size, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `{"noise": (batch, …)}`, standard normal, the same numbers for all strengths."""
        return {"noise": torch.randn(shape, generator=generator, device=generator.device)}

    def __call__(self, samples: Tensor, noise: dict[str, Tensor], strength: float | Tensor) -> Tensor:
        """Return x + λ η."""
        return samples + strength * noise["noise"].to(samples.dtype)
