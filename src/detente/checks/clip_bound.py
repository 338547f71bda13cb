"""Whether clipped weights leave a Wasserstein critic a usable slope."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from detente.checks.base import Check, Finding, Setup
from detente.optimizers.base import Optimizer
from detente.optimizers.clipped import Clipped


@dataclass(frozen=True)
class ClipBound(Check):
    """A bound c on the critic's weights that makes it flat, or leaves it as steep as without one.

    Clipped weights gather at ±c. A layer with m inputs and n outputs then has a slope of at most c√(mn), and of about
    c(√m + √n) with random signs. The products over all layers, times the data's size σ, √(total variance), say how far
    scores can differ across the data, at most and usually.

    Args:
        flat: smallest accepted difference of scores at most.
        steep: largest accepted usual one.

    Source: Arjovsky, Chintala & Bottou 2017 (arXiv:1701.07875), section 3, for clips that are too large or too small;
        Vershynin 2018, High-Dimensional Probability, theorem 4.4.5, for matrices of random signs.
    """

    of_method: ClassVar[bool] = True

    flat: float = 0.03
    steep: float = 1e4

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        if setup.method is None or not setup.linear:
            return []
        name = setup.discriminator
        bound = _bound(setup.method.playing(setup.game).optimizers(setup.game.players)[name])
        shapes = [(w[0].numel(), len(w)) for w in setup.module(name).parameters() if w.dim() > 1 and len(w)]
        if not bound or not shapes:
            return []
        size = float(setup.real.double().flatten(1).var(0).sum().sqrt())
        most = size * math.prod(bound * math.sqrt(m * n) for m, n in shapes)
        usual = size * math.prod(bound * (math.sqrt(m) + math.sqrt(n)) for m, n in shapes)
        fitting = float(f"{bound * usual ** (-1 / len(shapes)):.1g}") if usual > 0 else 0.01
        remedy = f"Clip the weights to about ±{fitting:g}, or use a gradient penalty instead."
        failure = "penalty or Lipschitz bound wrong"
        if 0 < most < self.flat:
            evidence = (
                f"With weights of at most {bound:g}, the critic's scores differ by at most {most:.1g} on the data."
            )
            return [Finding(failure, evidence, 0.8, remedy)]
        if usual > self.steep:
            evidence = f"Weights of up to {bound:g} let the critic's scores differ by about {usual:.1g} on the data."
            return [Finding(failure, evidence, 0.65, remedy)]
        return []


def _bound(optimizer: Any) -> float:
    """Return the bound of an optimizer, or of one that it wraps, that clips the parameters; 0 if none does."""
    if isinstance(optimizer, Clipped):
        return float(optimizer.bound) if isinstance(optimizer.bound, int | float) else 0.0
    return max((_bound(part) for part in vars(optimizer).values() if isinstance(part, Optimizer)), default=0.0)
