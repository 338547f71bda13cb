"""Whether the discriminator's scores can reach the values at which its loss is low."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from detente.checks.base import Check, Finding, Setup
from detente.modules.output_range import bounds

FAR = 30.0  # a score that is as good as infinite: exp(−30) is below float32's precision


@dataclass(frozen=True)
class ScoreRange(Check):
    """A discriminator with bounded scores under a loss on unbounded ones: a sigmoid twice, a tanh or ReLU under logits.

    The range is found by multiplying the discriminator's parameters. The loss is evaluated at the range's ends
    and far outside. With a sigmoid under a loss on logits, it is at least 1.006 instead of 0.

    Args:
        gain: largest accepted share of the loss that lies outside.

    Source: PyTorch's `BCEWithLogitsLoss`, which contains the sigmoid; log(1 + e⁻¹) + log 2 = 1.006.
    """

    at_construction: ClassVar[bool] = False  # `Adversarial` refuses it, or warns

    gain: float = 0.1

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        if not setup.scores_are_numbers:
            return []
        name = setup.discriminator
        lowest, highest = bounds(setup.scores_at_scales)
        if lowest is None and highest is None:
            return []
        if setup.linear:
            return self._bounded(name, lowest, highest)
        low = lowest if lowest is not None else min(-FAR, (highest or 0) - FAR)
        high = highest if highest is not None else max(FAR, low + FAR)
        width = min(FAR, high - low)
        inside = min(setup.losses_at(*scores)[name] for scores in ((high, low), (low, high)))
        scores = (high + 10 * width, low - 10 * width)
        loss_outside = min(setup.losses_at(*pair)[name] for pair in (scores, scores[::-1]))
        even = setup.losses_at(*[min(max(0.0, low), high)] * 2)[name]
        if not all(map(math.isfinite, (inside, loss_outside, even))) or inside - loss_outside <= self.gain * abs(even):
            return []
        sigmoid = highest is not None and abs(low) < 0.01 and abs(high - 1) < 0.01
        like = ", as after a sigmoid" if sigmoid else ""
        evidence = (
            f"The {name}'s scores stay between {_shown(lowest, '-∞')} and {_shown(highest, '∞')}{like}, "
            f"but its loss is for unbounded scores: it is at least {inside:.4g}, and {loss_outside:.3g} outside."
        )
        remedy = f"Remove the {name}'s last activation" + (
            ", or use binary_cross_entropy instead of the loss on logits (scores='probabilities')." if sigmoid else "."
        )
        return [Finding("wiring", evidence, 0.95 if sigmoid else 0.8, remedy)]

    def _bounded(self, name: str, low: float | None, high: float | None) -> list[Finding]:
        """Return a finding for a Wasserstein critic that ends in a sigmoid or in tanh."""
        if low is None or high is None:
            return []
        evidence = (
            f"The {name}'s scores stay between {low:.3g} and {high:.3g}, but its loss is linear in them (Wasserstein): "
            "once they are at these ends, no gradient is left."
        )
        remedy = f"Remove the {name}'s last activation, and bound its slope by a gradient penalty instead."
        return [Finding("wiring", evidence, 0.85, remedy)]


def _shown(bound: float | None, otherwise: str) -> str:
    return otherwise if bound is None else f"{bound:.3g}"
