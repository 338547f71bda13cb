"""Whether latents take many different values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.checks.base import Check, Finding, Setup
from detente.games.adversarial import Adversarial


@dataclass(frozen=True)
class DistinctLatents(Check):
    """Your own latents with only a few values, such as some bits, so that there are as few samples.

    Args:
        share: share of different latents in 512 below which there are few.

    Source: Goodfellow et al. 2014 (arXiv:1406.2661), section 3: latents have a density.
    """

    share: float = 0.25

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding; latents that are all the same are another check's."""
        if isinstance(setup.game, Adversarial) or setup.game.batches is None:
            return []
        generator, parts = torch.Generator().manual_seed(3), []
        while sum(map(len, parts)) < 512:
            calls = setup.gan.calls(*setup.point, setup.at_start(setup.gan.batch(generator)), generator)
            inputs = next((call.inputs for player, call in calls if player == setup.generator and call.inputs), ())
            random = [x for x in inputs if isinstance(x, Tensor) and x.is_floating_point()]
            if len(random) != 1 or len(random[0]) < 2:
                return []
            judged = [call.inputs[0] for player, call in calls if player == setup.discriminator and call.inputs]
            if any(isinstance(x, Tensor) and torch.equal(x, random[0]) for x in judged):
                return []  # real samples, as of an autoencoder or a translator
            parts.append(random[0].flatten(1))
        latents = torch.cat(parts)
        different = len(latents.unique(dim=0))
        if different < 2 or different >= self.share * len(latents):
            return []
        evidence = f"Among {len(latents)} latents of the {setup.generator} only {different} are different."
        remedy = "Draw latents from a normal distribution: torch.randn in the batch."
        return [Finding("sampling", evidence, 0.85, remedy)]
