"""Whether labels change what the networks return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from detente.checks.base import Check, Finding, Setup


@dataclass(frozen=True)
class IgnoredLabels(Check):
    """A network that gets labels and ignores them.

    Source: Mirza & Osindero 2014, Conditional Generative Adversarial Nets (arXiv:1411.1784): both networks use them.
    """

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return a finding for each network that ignores its labels."""
        if getattr(setup.game, "present", None) is None or len(setup.game.present) < 2:
            return []
        findings, first, last = [], setup.game.present[0], setup.game.present[-1]
        vectors, buffers = setup.point
        count = setup.game.batch
        latents = torch.randn(count, *setup.game.latent_shape, generator=torch.Generator().manual_seed(1))
        inputs = {"generator": latents, "discriminator": setup.real[torch.arange(count) % len(setup.real)]}
        for player, x in inputs.items():
            with torch.no_grad():
                outputs = [
                    setup.game._call(player, vectors, buffers, x, label.expand(count).clone())
                    for label in (first, last)
                ]
            if torch.equal(*outputs):
                evidence = f"The {player}'s output is the same for labels {int(first)} and {int(last)}."
                findings.append(Finding("labels ignored", evidence, 0.95, f"Use the labels in the {player}'s forward."))
        return findings
