"""Whether bounded outputs start at their bounds, where they have no gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from detente.checks.base import Check, Finding, Setup
from detente.modules.output_range import bounds


@dataclass(frozen=True)
class Saturation(Check):
    """A sigmoid, tanh or clipping that is saturated before the first step.

    Args:
        share: largest accepted share of outputs at their bounds.
        near: distance from a bound, relative to the range; the slope of a sigmoid there is about this small.

    Source: Glorot & Bengio 2010, Understanding the Difficulty of Training Deep Feedforward Neural Networks, section 3;
        roatienza/Deep-Learning-Experiments issue 2 (a saturated discriminator under a clipped loss).
    """

    share: float = 0.8
    near: float = 1e-3

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return a finding for each network that is saturated."""
        findings = []
        outputs = {setup.discriminator: setup.scores_at_scales, setup.generator: setup.generated_at_scales}
        for player, at_scales in outputs.items():
            low, high = bounds(at_scales)
            share = self._at_bounds(at_scales[0], low, high)
            if low is None or high is None or share <= self.share:
                continue
            evidence = (
                f"{share:.0%} of the {player}'s first outputs are within {self.near:g} of their bounds, {low:.3g} and "
                f"{high:.3g}, where the last activation has no slope."
            )
            remedy = f"Scale the {player}'s input (data of about unit size) or its initial weights down."
            findings.append(Finding("vanishing gradient", evidence, 0.8, remedy))
        return findings

    def _at_bounds(self, outputs: Tensor, low: float | None, high: float | None) -> float:
        if low is None or high is None:
            return 0.0
        distance = self.near * (high - low)
        return float(((outputs - low < distance) | (high - outputs < distance)).double().mean())
