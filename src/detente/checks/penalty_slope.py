"""Whether the user's own penalty takes slopes correctly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch

from detente.autodiff import player_gradient
from detente.checks.base import Check, Finding, Setup
from detente.games.adversarial import Adversarial


@dataclass(frozen=True)
class PenaltySlope(Check):
    """A penalty whose gradient is NaN at a slope of 0, or that takes the norm over wrong axes.

    The discriminator's scores are replaced by a linear function of one slope, 0 to 30, and its loss is evaluated: a
    penalty (‖∇‖ − 1)² is least at 1. Over wrong axes, it is least at √n, for the size n of the axes that are left
    out, or at 1/√B, if one norm is taken for the whole batch of B samples.

    Args:
        tolerance: relative distance from such a slope at which the penalty must be larger.

    Source: Gulrajani et al. 2017 (arXiv:1704.00028), Algorithm 1; pytorch issue 2534 and issue 68 of
        tdeboissiere/DeepLearningImplementations (NaN); the penalty's target is one slope for each sample.
    """

    tolerance: float = 0.05

    def __call__(self, setup: Setup) -> Sequence[Finding]:
        """Return at most two findings."""
        if isinstance(setup.game, Adversarial):
            users_own = [p for p in setup.game.penalties if not type(p).__module__.startswith("detente.")]
            if not users_own or setup.game.filter is not None:
                return []
        elif not setup.penalised and not self._is_nan(setup):
            return []
        findings = []
        if self._is_nan(setup):
            evidence = "The gradient of the penalty is NaN at a point where the discriminator's slope is 0."
            findings.append(
                Finding(
                    "penalty or Lipschitz bound wrong",
                    evidence,
                    0.9 if self._flat_somewhere(setup) else 0.6,
                    "Add 1e-12 under the square root of the slope, or use gradient.norm(2, dim=1).",
                )
            )
        return [*findings, *self._axes(setup)]

    def _is_nan(self, setup: Setup) -> bool:
        """Whether the loss of a flat discriminator is a number, and its gradient is not."""
        game, name = setup.gan.with_scores(lambda _, scores: 0 * scores), setup.discriminator
        evaluation = player_gradient(game, name, *setup.point, setup.small_batch)
        return bool(evaluation.losses[name].isfinite()) and bool(evaluation.field[name].isnan().any())

    def _flat_somewhere(self, setup: Setup) -> bool:
        """Whether the discriminator has units of slope 0 (ReLU) and so may be flat around some sample."""
        kinds = (torch.nn.ReLU, torch.nn.ReLU6, torch.nn.Hardtanh)
        return any(isinstance(part, kinds) for part in setup.module(setup.discriminator).modules())

    def _axes(self, setup: Setup) -> list[Finding]:
        """Return a finding if the penalty is least at the slope that a norm over wrong axes makes of 1."""
        shape, batch = tuple(setup.real.shape[1:]), len(setup.small_batch[setup.gan.real_entry])
        products = {math.prod(c) for k in range(1, len(shape) + 1) for c in combinations(shape, k)} - {1}
        wrong = {math.sqrt(n): f"√{n}" for n in products} | {math.sqrt(n / batch): f"√({n}/{batch})" for n in products}
        wrong |= {1 / math.sqrt(batch): f"1/√{batch}"}
        losses = {slope: setup.loss_at_slope(slope) for slope in (*wrong, 0.0, 1.0)}
        slope = min(losses, key=lambda x: losses[x])
        excess = losses[1.0] - losses[slope]
        if not all(map(math.isfinite, losses.values())) or slope in (0.0, 1.0) or excess <= 1e-3 * abs(losses[1.0]):
            return []
        around = [setup.loss_at_slope(slope * (1 + self.tolerance * sign)) for sign in (-1, 1)]
        if min(around) <= losses[slope]:
            return []
        evidence = (
            f"The penalty is least at a slope of {slope:.3g} = {wrong[slope]}, not at 1 or 0, for {batch} samples of "
            f"{shape}: at 1, it is {excess:.3g} larger."
        )
        remedy = "Take one norm for each sample over all of its numbers: gradient.flatten(1).norm(dim=1)."
        return [Finding("penalty or Lipschitz bound wrong", evidence, 0.9, remedy)]
