"""The divergence between the samples' distribution over the modes of a known mixture and the true one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from detente.data.gaussian_mixture import Mixture
from detente.game import Game
from detente.metrics.base import Metric, nonnegative
from detente.metrics.context import EvaluationContext


@dataclass(frozen=True)
class ModeDivergence(Metric):
    """Jensen-Shannon divergence between the samples' histogram over modes and the modes' true weights.

    JS(p, w) = KL(p | m)/2 + KL(w | m)/2, m = (p + w)/2; p_k = fraction of all samples with nearest mode k

    Between 0 and ln 2 nats; a perfect generator reaches about (modes - 1)/(8 * samples). Samples count at any distance
    from their mode, so read it together with the percentage of samples near a mode.

    Source: Lin, Khetan, Fanti, Oh (PacGAN, 2018), section 4.1 (there: the reverse Kullback-Leibler divergence).
    """

    title = "Mode divergence"
    unit = "nats"
    better = "lower"
    needs = "data with known modes"

    def applies(self, game: Game) -> bool:
        return isinstance(getattr(game, "data", None), Mixture)

    def __call__(self, context: EvaluationContext) -> float:
        points = context.samples.flatten(1).double()
        if not points.isfinite().all():
            return math.nan
        centres = context.data.centres.to(points)
        nearest = torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
        shares = torch.bincount(nearest, minlength=len(centres)).to(points) / len(points)
        true = context.data.weights.to(points)
        true = true / true.sum()
        middle = (shares + true) / 2
        terms = [torch.special.xlogy(p, p / middle).nan_to_num(0.0).sum() for p in (shares, true)]
        return nonnegative(float(terms[0] + terms[1]) / 2)
