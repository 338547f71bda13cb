"""Whether the players' learning rates are usual, and similar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

from detente.checks.base import Check, Finding, Setup


@dataclass(frozen=True)
class LearningRates(Check):
    """A rate of an adaptive optimizer that is far too large, or players whose rates differ widely.

    Args:
        adaptive: largest accepted rate of Adam and its kind.
        ratio: largest accepted ratio of the two rates.

    Source: Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule (arXiv:1706.08500); ML4ME, GAN Training
        Pitfalls (rates of 1e-5 and 1e-3, and of 1e-4 and 1e-5).
    """

    adaptive: float = 8e-3
    ratio: float = 8.0

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return findings on the size and on the ratio of the rates."""
        if setup.method is None:
            return []
        optimizers = setup.method.optimizers(setup.game.players)
        settings = {player: getattr(optimizer, "learning_rate", None) for player, optimizer in optimizers.items()}
        rates = {player: float(rate) for player, rate in settings.items() if isinstance(rate, Real)}
        if len(rates) != len(settings) or len(rates) != 2:  # schedules and optimizers of torch
            return []
        findings = []
        kinds = {player: type(optimizer).__name__ for player, optimizer in optimizers.items()}
        large = {p: r for p, r in rates.items() if "Adam" in kinds[p] and r > self.adaptive}
        if large:
            shown = ", ".join(f"{rate:g} ({player})" for player, rate in large.items())
            evidence = f"A learning rate of {shown} is far above what Adam usually needs for a GAN, 1e-4 to 1e-3."
            certainty = 0.8 if max(large.values()) > 0.03 else 0.55
            findings.append(Finding("blow-up", evidence, certainty, "Use a learning rate of 2e-4."))
        (first, second), (own, other) = rates, rates.values()
        if max(own, other) > self.ratio * min(own, other) and kinds[first] == kinds[second]:
            strong = second if other > own else first
            overpowering = strong == setup.game.players[-1]
            failure = "discriminator overpowers" if overpowering else "generator overpowers or discriminator dead"
            evidence = f"The {strong}'s learning rate is {max(own, other) / min(own, other):.3g} times the other's."
            findings.append(Finding(failure, evidence, 0.6, "Bring the rates closer, at most 1 : 5."))
        return findings
