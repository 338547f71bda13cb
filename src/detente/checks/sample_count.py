"""Whether there are enough different samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from detente.checks.base import Check, Finding, Setup


@dataclass(frozen=True)
class SampleCount(Check):
    """A set so small, or with so many duplicates, that a discriminator can memorise it.

    Args:
        images: smallest accepted number of samples of 64 or more numbers.
        points: smallest accepted number of smaller samples.
        distinct: smallest accepted share of distinct samples.

    Source: Karras et al. 2020, Training GANs with Limited Data (arXiv:2006.06676), figure 1.
    """

    at_construction: ClassVar[bool] = False  # a few samples are enough for a trial

    images: int = 1000
    points: int = 200
    distinct: float = 0.5

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        size, numbers = setup.size, setup.real[0].numel()
        rows = setup.real.flatten(1)
        alike = bool((rows == rows[:1]).all()) and float(setup.fake.double().std(0).max()) > 0  # not a Dirac-GAN
        if alike and len(rows) > 0:
            count = "There is only one sample" if len(rows) == 1 else f"All {len(rows)} samples are the same"
            evidence = f"{count}, so that there is nothing to learn but this one."
            return [Finding("too few data", evidence, 0.95, "Check how the data are read, and get more.", by_hand=True)]
        remedy = "Augment real and generated samples alike (filter DiffAugment), add the penalty R1, or get more data."
        least = self.images if numbers >= 64 else self.points
        if size is not None and size < least:
            evidence = f"There are {size} samples of {numbers} numbers, which a discriminator can memorise."
            return [Finding("too few data", evidence, 0.75 if size > least // 4 else 0.9, remedy)]
        share = len(torch.unique(rows, dim=0)) / len(rows)
        if numbers >= 64 and share < self.distinct:
            evidence = f"Only {share:.0%} of {len(rows)} samples are different from each other."
            return [Finding("too few data", evidence, 0.7, "Remove the duplicates. " + remedy)]
        return []
