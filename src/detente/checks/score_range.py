"""Whether the discriminator's scores can go where its loss wants them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from detente.checks.base import Check, Finding, Setup
from detente.modules.output_range import bounds


@dataclass(frozen=True)
class ScoreRange(Check):
    """A discriminator with bounded scores under a loss on unbounded ones: a sigmoid twice, or a tanh under logits.

    The range is found by multiplying the discriminator's parameters. The loss is asked what it is at the range's ends
    and far outside. With a sigmoid under a loss on logits, it is at least 1.006 instead of 0.

    Args:
        gain: largest accepted share of the loss that lies outside.

    Source: PyTorch's `BCEWithLogitsLoss`, which contains the sigmoid; log(1 + e⁻¹) + log 2 = 1.006.
    """

    gain: float = 0.1

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        if not setup.scores_are_numbers:
            return []
        name = setup.discriminator
        low, high = bounds(setup.scores_at_scales)
        if low is None or high is None or setup.linear:
            return []
        width = high - low
        inside = min(setup.losses_at(*ends)[name] for ends in ((high, low), (low, high)))
        ends = (high + 10 * width, low - 10 * width)
        beyond = min(setup.losses_at(*each)[name] for each in (ends, ends[::-1]))
        even = setup.losses_at(*[(low + high) / 2] * 2)[name]
        if not all(map(math.isfinite, (inside, beyond, even))) or inside - beyond <= self.gain * abs(even):
            return []
        sigmoid = abs(low) < 0.01 and abs(high - 1) < 0.01
        evidence = (
            f"The {name}'s scores stay between {low:.3g} and {high:.3g}{', as after a sigmoid' if sigmoid else ''}, "
            f"but its loss is for unbounded scores: it cannot fall below {inside:.4g}, and is {beyond:.3g} outside."
        )
        remedy = f"Remove the {name}'s last activation" + (
            ", or use binary_cross_entropy instead of the loss on logits (scores='probabilities')." if sigmoid else "."
        )
        return [Finding("wiring", evidence, 0.95 if sigmoid else 0.8, remedy)]
