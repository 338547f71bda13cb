"""Numbers that are not finite, and losses that grow without end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detente.checks.base import Finding
from detente.signals.base import History, Observation, Signal, finite, measured


@dataclass(frozen=True)
class Divergence(Signal):
    """The largest weight of each player and the largest output; the first number that is not finite.

    Args:
        grown: growth of a loss's size from which it blows up.
        large: size of a loss from which it blows up.
        worse: amount by which a discriminator that blows up does worse than a constant; in working GANs it is below 1.

    Source: Zhang et al. 2021, AutoTrainer (ICSE), for the size of an exploding loss.
    """

    grown: float = 1e3
    large: float = 1e5
    worse: float = 3.0

    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return the largest parameter of each player, and the largest sample and score."""
        players = observation.players()
        values = {role: observation.state.vectors[name].abs().max() for role, name in players.items()}
        return measured(
            {**values, "sample": observation.samples.abs().max(), "score": observation.fake_scores.abs().max()}
        )

    def findings(self, history: History) -> Sequence[Finding]:
        """Return a blow-up, or a penalty that is not finite."""
        game = history.gan.game
        if history.diverged_at is not None:
            cause = f": {history.cause}" if history.cause else ""
            evidence = f"At step {history.diverged_at} a number is not finite{cause}."
            if "the batch's" in history.cause:
                return [Finding("data scale", evidence, 0.95, "Remove samples that are not finite from the data.")]
            named = any(word in history.cause.lower() for word in ("penalty", "slope", "gp", "lipschitz", "r1", "r2"))
            if named or self._by_derivative(history):
                words = "the forward passes stay small, so a square root or a division is differentiated at 0"
                remedy = "Add 1e-12 under the square root of the slope's norm; detente's own penalties are safe at 0."
                evidence = evidence if named else f"{evidence[:-1]}; {words}."
                return [
                    Finding("penalty or Lipschitz bound wrong", evidence, 0.9 if named else 0.75, remedy),
                    Finding("blow-up", evidence, 0.85, remedy),
                ]
            return [Finding("blow-up", evidence, 0.97, _REMEDY)]
        advantage = finite(history.late("separation.advantage"))
        linear = type(getattr(game, "objective", None)).__name__ == "Wasserstein"
        if len(advantage) >= 3 and not linear and history.far and np.median(advantage) < -self.worse:
            evidence = (
                f"The discriminator's loss is {-np.median(advantage):.3g} above that of a constant: its scores are "
                "huge, and often wrong."
            )
            return [Finding("blow-up", evidence, 0.75, _REMEDY)]
        for role in ("discriminator", "generator"):
            losses = np.abs(finite(history.loss(role, 1.0)))
            if len(losses) < 8:
                continue
            early, late = (
                float(np.median(losses[: max(4, len(losses) // 10)])),
                float(np.median(losses[-len(losses) // 4 :])),
            )
            if late > self.large or late > self.grown * max(early, 0.1):
                evidence = f"The {role}'s loss has grown from {early:.3g} to {late:.3g}."
                return [Finding("blow-up", evidence, 0.6 if linear else 0.85, _REMEDY)]
        return []

    def _by_derivative(self, history: History) -> bool:
        """Whether a gradient stopped being finite before any loss grew."""
        sizes = [finite(history.loss(role, 1.0)) for role in ("discriminator", "generator")]
        small = all(len(losses) == 0 or np.abs(losses).max() < 1e3 for losses in sizes)
        return small and "gradient of" in history.cause and "every layer is finite" in history.cause


_REMEDY = "Use a smaller learning rate (2e-4), losses on logits, and clipped gradients."
