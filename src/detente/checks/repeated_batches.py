"""Whether batches differ from each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.checks.base import Check, Finding, Setup
from detente.games.adversarial import Adversarial


@dataclass(frozen=True)
class RepeatedBatches(Check):
    """The same latents, or the same real samples, in every batch of a game with your own losses and batches.

    A generator of fixed latents memorises a few samples; samples from other latents lie between them.

    Args:
        whole: number of real samples from which a batch may be the whole set, on purpose.

    Source: Goodfellow et al. 2014 (arXiv:1406.2661), Algorithm 1: both are drawn again in every step.
    """

    whole: float = 512

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most two findings."""
        game = setup.game
        if isinstance(game, Adversarial) or game.batches is None or getattr(game.batches, "once", False):
            return []
        generator, findings = torch.Generator().manual_seed(2), []
        batches = [setup.at_start(setup.gan.batch(generator)) for _ in range(2)]
        latents = [self._latents(setup, batch, seed) for seed, batch in enumerate(batches)]
        if None not in latents and torch.equal(*latents):  # pyright: ignore[reportArgumentType]
            evidence = f"The {setup.generator} gets the same {len(latents[0])} latents in every batch."  # type: ignore
            findings.append(
                Finding("sampling", evidence, 0.9, "Draw new latents in every step: torch.randn in the batch.")
            )
        first, second = (batch[setup.gan.real_entry] for batch in batches)
        if torch.equal(first, second):
            evidence = f"Every batch contains the same {len(first)} real samples."
            certainty = 0.85 if len(first) < self.whole else 0.4
            remedy = "Draw new samples of the set for every batch."
            findings.append(Finding("sampling", evidence, certainty, remedy, by_hand=True))
        return findings

    def _latents(self, setup: Setup, batch: dict[str, Tensor], seed: int) -> Tensor | None:
        """Return the generator's first input for a batch, if it is one of random numbers."""
        calls = setup.gan.calls(*setup.point, batch, torch.Generator().manual_seed(seed))
        inputs = [call.inputs[0] for player, call in calls if player == setup.generator and call.inputs]
        known = inputs and isinstance(inputs[0], Tensor) and inputs[0].is_floating_point() and len(inputs[0]) > 1
        return inputs[0] if known else None
