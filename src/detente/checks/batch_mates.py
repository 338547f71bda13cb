"""Whether a discriminator scores each sample on its own, where that matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from detente.checks.base import Check, Finding, Setup
from detente.games.adversarial import Adversarial
from detente.modules.randomness import seeded


@dataclass(frozen=True)
class BatchMates(Check):
    """A score that changes with the other samples of the batch, under a slope penalty or in a batch of real and fake.

    Under a penalty on each sample's slope, a slope then belongs to the batch. In a mixed batch, the discriminator
    learns from the mixture and the generator from pure batches: it is two different functions.

    Args:
        change: largest accepted change of a score, relative to the scores' standard deviation, with BatchNorm.
        other: the same without BatchNorm: a statistic of the batch as one more feature (Karras et al. 2018) is usual.

    Source: Gulrajani et al. 2017, Improved Training of Wasserstein GANs (arXiv:1704.00028), section 4, "No critic batch
        normalization"; ganhacks 4 (separate batches of real and generated samples).
    """

    change: float = 1e-3
    other: float = 0.3

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        mixed = self._mixed(setup)
        if not (mixed or setup.penalised):
            return []
        real = setup.few
        half = len(real) // 2
        if half < 2:
            return []
        with seeded(0, torch.device("cpu"), setup.game.sources):
            first_scores = setup.scores(real[: 2 * half])
        with seeded(0, torch.device("cpu"), setup.game.sources):  # the same dropout, other mates
            other_scores = setup.scores(torch.cat([real[:half], 2 * real[half : 2 * half]]))
        if len(first_scores) != 2 * half or len(other_scores) != 2 * half:
            return []
        change = float((first_scores - other_scores)[:half].abs().max()) / (float(other_scores.std()) or 1.0)
        parts = setup.module(setup.discriminator).modules()
        normed = any(isinstance(part, torch.nn.modules.batchnorm._BatchNorm) for part in parts)
        if change <= (self.change if normed else self.other):
            return []
        evidence = f"A sample's score changes by {change:.2g} standard deviations with the other samples of its batch"
        if mixed:
            real_count, fake_count = mixed
            evidence += f", and real and generated samples share a batch ({real_count} and {fake_count})."
            remedy = "Call the discriminator once with real and once with generated samples, or remove its BatchNorm."
            return [Finding("normalisation", evidence, 0.9 if normed else 0.7, remedy)]
        penalties = getattr(setup.game, "penalties", ())
        name = type(penalties[0]).__name__ if penalties else "on its slope"
        remedy = "Replace BatchNorm in the discriminator by layer or instance norm, or remove it."
        return [Finding("normalisation", f"{evidence}, under the penalty {name}.", 0.8 if normed else 0.45, remedy)]

    def _mixed(self, setup: Setup) -> tuple[int, int] | None:
        """Return the numbers of real and of other samples in one call of the discriminator, if both are in it."""
        if isinstance(setup.game, Adversarial):
            return None
        for player, call in setup.calls:
            if player == setup.discriminator and call.inputs and isinstance(call.inputs[0], torch.Tensor):
                real = int(setup.is_real(call.inputs[0]).sum())
                if 0 < real < len(call.inputs[0]):
                    return real, len(call.inputs[0]) - real
        return None
