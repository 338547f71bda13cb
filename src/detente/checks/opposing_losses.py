"""Whether the players' losses pull the scores in opposite directions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from detente.checks.base import Check, Finding, Setup

CENTRES, STEP = (0.5, -0.5), 0.25  # scores between the targets of the usual losses, for probabilities and logits


@dataclass(frozen=True)
class OpposingLosses(Check):
    """Losses with a wrong sign or wrong labels.

    The discriminator must move scores of real and of generated samples apart, and the generator must move those of its
    samples against the discriminator. The losses are evaluated at constant scores.

    Source: Goodfellow et al. 2014, Generative Adversarial Nets (arXiv:1406.2661), equation 1.
    """

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        known = type(getattr(setup.game, "objective", None)).__module__.startswith("detente.")
        if known or not setup.scores_are_numbers:
            return []
        generator, discriminator = setup.generator, setup.discriminator
        slopes = [values for values in (self._slopes(setup, x) for x in CENTRES) if all(map(math.isfinite, values))]
        if not slopes:
            return []
        real, fake, generator_slope = slopes[0]
        for index, kind in enumerate(("real", "generated")):
            if all(values[index] == 0 for values in slopes):
                evidence = f"The {discriminator}'s loss does not depend on the scores of {kind} samples."
                return [Finding("wiring", evidence, 0.85, f"Add the term of {kind} samples to its loss.")]
        if all(r * f > 0 for r, f, _ in slopes):
            evidence = (
                f"The {discriminator}'s loss pulls scores of real and generated samples in the same direction: at 0.5, "
                f"its slopes are {real:.3g} and {fake:.3g}."
            )
            remedy = f"Give real and generated samples opposite labels in the {discriminator}'s loss."
            return [Finding("wiring", evidence, 0.9, remedy)]
        if all(f * o > 0 for _, f, o in slopes):
            evidence = (
                f"Both losses pull the scores of generated samples in the same direction: at a score of 0.5, the slope "
                f"of the {discriminator}'s loss is {fake:.3g}, and of the {generator}'s {generator_slope:.3g}."
            )
            return [Finding("wiring", evidence, 0.9, f"Change the sign of the {generator}'s loss, or its labels.")]
        return []

    def _slopes(self, setup: Setup, centre: float) -> tuple[float, float, float]:
        """Return the slopes of D's loss in the scores of real and of generated samples, and of G's loss in its own."""
        low, high = centre - STEP, centre + STEP
        corners = {(r, f): setup.losses_at(r, f) for r in (low, high) for f in (low, high)}
        d = {key: losses[setup.discriminator] for key, losses in corners.items()}
        g = {key: losses[setup.generator] for key, losses in corners.items()}
        real = (d[high, low] + d[high, high] - d[low, low] - d[low, high]) / (4 * STEP)
        fake = (d[low, high] + d[high, high] - d[low, low] - d[high, low]) / (4 * STEP)
        curvature = (g[low, high] + g[high, high] - g[low, low] - g[high, low]) / (4 * STEP)
        return _rounded(real), _rounded(fake), _rounded(curvature)


def _rounded(slope: float) -> float:
    return 0.0 if abs(slope) < 1e-6 else slope
