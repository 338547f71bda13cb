"""The Wasserstein loss with a gradient penalty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from detente.cures.base import Case, Change, Cure
from detente.penalties.gradient_penalty import GradientPenalty


class WassersteinPenalty(Cure):
    """WGAN-GP: the Wasserstein loss with a slope of 1 in standard units, three turns of the critic, and its Adam.

    The penalty λ(‖∇D‖ − 1)² with λ = 10 in standard units u = x/σ is 10σ²(‖∇ₓD‖ − 1/σ)² in the data's. With your own
    losses, the penalty is added to them.

    Source: Gulrajani et al. 2017 (arXiv:1704.00028), algorithm 1.
    """

    title: ClassVar[str] = "The Wasserstein loss with a gradient penalty"
    treats: ClassVar[Mapping[str, float]] = {
        "unbounded critic": 0.7,
        "penalty or Lipschitz bound wrong": 0.6,
        "vanishing gradient": 0.35,
        "discriminator overpowers": 0.35,
        "collapse": 0.3,
        "blow-up": 0.2,
    }

    def __call__(self, case: Case) -> Change | None:
        """Return the change, or None if it does not apply."""
        if case.batch_norm:
            return None
        scale = 1.0 if case.units is not None else float(f"{float(case.deviation.mean()):.2g}")
        game: dict[str, object] = {"penalties": (GradientPenalty(10 * scale**2, 1 / scale),), **case.in_order}
        if case.adversarial:
            game["objective"] = "wasserstein"
        settings = {**case.averaged(case.balanced / 2, (0.0, 0.9)), "discriminator_turns": 3}
        return Change(game, "averaged", settings)
