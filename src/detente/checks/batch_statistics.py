"""Whether each batch is normalised separately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from detente.checks.base import Check, Finding, Setup
from detente.data.base import StoredData

BATCHES = 6


@dataclass(frozen=True)
class BatchStatistics(Check):
    """Real samples that are centred or standardised in each batch, so that they depend on the others of the batch.

    The statistic is B ‖m − m₀‖² / Σ σ², for the mean m of a batch of B samples, their variances σ² and the mean m₀ of
    several batches. It is about 1 if batches are drawn at random, less if they hold equal numbers of each kind, and 0
    if each is centred; for pictures that are centred by one number, the same of each picture's mean. What a batch of B
    samples takes for the deviation is wrong by a share of 1/√(2B), so that the data become others.

    Args:
        least: mean of the statistic over some batches that is no more than rounding.
        error: share 1/√(2B) from which the data are surely others.

    Source: the analysis of variance, as for `DataOrder`: the variance of the mean of B independent samples is σ²/B;
        that of a standard deviation is about σ²/(2B).
    """

    calls_networks: ClassVar[bool] = False

    least: float = 1e-8
    error: float = 0.2

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        if isinstance(setup.data, StoredData) or getattr(setup.game.batches, "once", False):
            return []
        generator = torch.Generator().manual_seed(0)
        batches = [setup.gan.real_of(setup.gan.batch(generator)).double().flatten(1) for _ in range(BATCHES)]
        count = min(map(len, batches))
        if count < 2 or _same(*batches[:2]):
            return []
        numbers, means = (_statistic(rows) for rows in (batches, [rows.mean(1, keepdim=True) for rows in batches]))
        if min(numbers, means) >= self.least:
            return []
        subject = "each number of" if numbers < self.least else "all numbers of"
        error = (2 * count) ** -0.5
        evidence = (
            f"The mean over {subject} the real samples is the same in every batch of {count}, {BATCHES} of them: each "
            f"batch is normalised by itself, with statistics that are wrong by {error:.0%} of a deviation."
        )
        remedy = "Normalise with the mean and the deviation of the whole set, computed once before training."
        certain = error > self.error
        return [Finding("normalisation", evidence, 0.85 if certain else 0.45, remedy, by_hand=certain)]


def _statistic(batches: Sequence[Tensor]) -> float:
    """Return the mean of B ‖m − m₀‖² / Σ σ² over batches; 1 without a variance that is more than rounding."""
    rows = torch.cat(list(batches))
    variance, size = float(rows.var(0).sum()), float(rows.square().mean(0).sum())
    if variance <= 1e-9 * size:
        return 1.0
    centre = torch.stack([x.mean(0) for x in batches]).mean(0)
    return sum(len(x) * float((x.mean(0) - centre).square().sum()) for x in batches) / variance / len(batches)


def _same(first: Tensor, second: Tensor) -> bool:
    """Whether every sample of a batch is in another one, too, as in batches of a whole set."""
    return bool((torch.cdist(first, second).min(1).values <= 1e-6 * float(second.norm(dim=1).mean())).all())
