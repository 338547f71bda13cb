"""Whether anything bounds a critic whose loss does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from detente.checks.base import Check, Finding, Setup
from detente.games.adversarial import Adversarial
from detente.modules.output_range import bounds
from detente.optimizers.base import Optimizer
from detente.optimizers.clipped import Clipped


@dataclass(frozen=True)
class UnboundedCritic(Check):
    """A loss that is linear in the scores (Wasserstein) without penalty, clipping or normalised weights.

    Bounds are: a penalty on slopes or on parameters, the optimizer `Clipped`, a function `project` of the game, and
    networks whose scores do not grow with their parameters (spectral norm, a last sigmoid).

    Args:
        growth: largest accepted growth of the scores' spread when all parameters are multiplied by 16.

    Source: Arjovsky, Chintala & Bottou 2017, Wasserstein GAN (arXiv:1701.07875), section 3 (clipping); torchgan pull
        request 42 and Mode_Collapse pull request 1 (critics without a bound).
    """

    of_method: ClassVar[bool] = True

    growth: float = 20.0

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most one finding."""
        if setup.method is None or not setup.linear or setup.penalised:
            return []
        name = setup.discriminator
        optimizer = setup.method.playing(setup.game).optimizers(setup.game.players)[name]
        projected = {setup.game.members.get(player, (player, ""))[0] for player in setup.game._project}
        if _clips(optimizer) or name in projected or self._decays(setup) or None not in bounds(setup.scores_at_scales):
            return []
        vectors = setup.point[0]
        before, after = (
            float(setup.scores(setup.few, {**vectors, name: c * vectors[name]}).std()) for c in (1.0, 16.0)
        )
        if not math.isfinite(after) or after <= self.growth * max(before, 1e-12):
            return []
        low, high = sorted(setup.losses_at(x, -x)[name] for x in (-100.0, 100.0))
        evidence = (
            f"The {name}'s loss is linear in its scores (from {low:.4g} to {high:.4g} for scores of 100), and nothing "
            "bounds them: no penalty, clipping or spectral norm."
        )
        remedy = (
            "Add penalties=GradientPenalty(), clip the weights (method wasserstein_clipping), or use spectral norm."
        )
        return [Finding("unbounded critic", evidence, 0.9, remedy)]

    def _decays(self, setup: Setup) -> bool:
        """Whether the loss itself grows with the parameters, at the same scores (a penalty on weights)."""
        if isinstance(setup.game, Adversarial):
            return False
        vectors, name = setup.point[0], setup.discriminator
        game = setup.gan.with_scores(lambda _, scores: 0 * scores)
        values = [
            float(game.losses({**vectors, name: c * vectors[name]}, setup.point[1], setup.small_batch)[0][name])
            for c in (1.0, 3.0)
        ]
        return all(map(math.isfinite, values)) and values[1] > values[0] + 1e-6


def _clips(optimizer: Any) -> bool:
    """Whether an optimizer, or one that it wraps, clips the parameters."""
    if isinstance(optimizer, Clipped):
        return True
    return any(_clips(part) for part in vars(optimizer).values() if isinstance(part, Optimizer))
