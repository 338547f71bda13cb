"""Whether a discriminator under a gradient penalty scores each sample on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from detente.checks.base import Check, Finding, Setup


@dataclass(frozen=True)
class BatchMates(Check):
    """A score that changes with the other samples of the batch, with a penalty on each sample's gradient.

    Args:
        change: largest accepted change of a score, relative to the scores' standard deviation.

    Source: Gulrajani et al. 2017, Improved Training of Wasserstein GANs (arXiv:1704.00028), section 4, "No critic batch
        normalization".
    """

    change: float = 1e-3

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        if not setup.game.penalties:
            return []
        real = setup.real[: setup.game.batch]
        half = len(real) // 2
        if half < 2:
            return []
        alone, together = setup.scores(real[:half]), setup.scores(torch.cat([real[:half], 2 * real[half:]]))
        if len(alone) != half or len(together) != len(real):
            return []
        spread = float(together.std()) or 1.0
        change = float((alone - together[:half]).abs().max()) / spread
        if change <= self.change:
            return []
        penalty = type(setup.game.penalties[0]).__name__
        evidence = (
            f"A sample's score changes by {change:.2g} standard deviations with its batch, under the penalty {penalty}."
        )
        remedy = "Replace BatchNorm in the discriminator by layer or instance norm, or remove it."
        return [Finding("normalisation", evidence, 0.8, remedy)]
