"""Whether latents have a size with which usual weights work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detente.checks.base import Check, Finding, Setup
from detente.games.data_units import LATENT_SIZES, latent_size


@dataclass(frozen=True)
class LatentScale(Check):
    """Latents that are far larger or smaller than 1, in games with your own batches.

    Args:
        low: smallest accepted root mean square.
        high: largest accepted one.

    Source: LeCun, Bottou, Orr & Müller 1998, Efficient BackProp, section 4.3 (inputs of unit size).
    """

    low: float = LATENT_SIZES[0]
    high: float = LATENT_SIZES[1]

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        size = latent_size(setup.gan)
        if size is None or size == 0 or self.low <= size <= self.high:
            return []
        evidence = f"The {setup.generator}'s latents have a size of {size:.3g} (root mean square) instead of about 1."
        return [Finding("data scale", evidence, 0.7, "Draw latents from a standard normal: torch.randn.")]
