"""Whether the batch has a usual size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from detente.checks.base import Check, Finding, Setup


@dataclass(frozen=True)
class BatchSize(Check):
    """Batches of a few samples, or of a large part of the set.

    Args:
        least: smallest accepted batch of samples that are made from latents.
        normed: smallest accepted batch for networks with BatchNorm.
        share: largest accepted share of a set of stored samples.

    Source: Ioffe 2017, Batch Renormalization (arXiv:1702.03275), section 1 (small batches); the limits are ours.
    """

    least: int = 3
    normed: int = 5
    share: float = 0.5

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        batch, first = len(setup.batch[setup.gan.real_entry]), setup.generator_call.inputs[0]
        from_latents = isinstance(first, Tensor) and first.dim() == 2
        normed = [
            player
            for player in (setup.generator, setup.discriminator)
            if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in setup.module(player).modules())
        ]
        if normed and 1 < batch < self.normed and from_latents:
            evidence = (
                f"The statistics of BatchNorm in the {' and the '.join(normed)} come from batches of {batch} samples."
            )
            return [Finding("normalisation", evidence, 0.6, "Use batch=64, or layer norm instead of BatchNorm.")]
        if batch < self.least and from_latents:
            evidence = f"A batch has {batch} sample{'s' if batch > 1 else ''}, so that gradients are mostly noise."
            return [Finding("oscillation or limit cycle", evidence, 0.45, "Use batch=64.")]
        if setup.size and batch > self.share * setup.size and setup.size < 2000:
            evidence = f"A batch has {batch} samples of a set of {setup.size}, so that all batches are nearly the same."
            return [
                Finding("too few data", evidence, 0.45, "Use a batch of at most a tenth of the set, or get more data.")
            ]
        return []
