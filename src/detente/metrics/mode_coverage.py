"""The number of modes of a known mixture that samples cover, and the fraction of samples near a mode."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.data.gaussian_mixture import Mixture
from detente.deprecated import lookup
from detente.errors import require
from detente.game import Game
from detente.metrics.base import Metric
from detente.metrics.context import EvaluationContext


def _near_modes(samples: Tensor, mixture: Mixture, sigmas: float) -> Tensor:
    """Return the nearest mode of each sample within `sigmas` standard deviations of it, (near samples,) int64."""
    points = samples.flatten(1).double()
    centres = mixture.centres.to(points)
    # The faster matrix product loses the digits that matter for small standard deviations.
    distances = torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist")
    distance, mode = distances.min(dim=1)
    return mode[distance <= sigmas * mixture.standard_deviation]


def _require_sigmas(sigmas: float) -> None:
    require(math.isfinite(sigmas) and sigmas > 0, "sigmas", sigmas, "a finite number above 0")


@dataclass(frozen=True)
class ModesCovered(Metric):
    """Number of modes with enough samples near them.

    #{k : at least `least` samples have k as their nearest mode and lie within sigmas * standard deviation of it}

    The protocol of VEEGAN and PacGAN uses 2,500 samples, 3 standard deviations (Euclidean distance), and one sample per
    mode. For a perfect generator in the plane, 98.9 % of the samples count.

    Args:
        sigmas: largest distance from a mode, in standard deviations of the mode, above 0.
        least: number of samples that a mode needs, at least 1.

    Source: Srivastava et al. (VEEGAN, 2017), section 5.1; Lin, Khetan, Fanti, Oh (PacGAN, 2018), section 4.1.
    """

    title = "Modes covered"
    unit = "modes"
    better = "higher"
    needs = "data with known modes"

    sigmas: float = 3.0
    least: int = 1

    def __post_init__(self) -> None:
        _require_sigmas(self.sigmas)
        require(type(self.least) is int and self.least >= 1, "least", self.least, "a whole number, at least 1")

    def applies(self, game: Game) -> bool:
        return isinstance(getattr(game, "data", None), Mixture)

    def __call__(self, context: EvaluationContext) -> float:
        if not context.samples.isfinite().all():
            return math.nan
        near_mode = _near_modes(context.samples, context.data, self.sigmas)
        counts = torch.bincount(near_mode, minlength=len(context.data.centres))
        return float((counts >= self.least).sum())


@dataclass(frozen=True)
class HighQualityFraction(Metric):
    """Percentage of samples near a mode ("high-quality samples").

    100 * #{samples within sigmas * standard deviation of their nearest mode} / #{samples}

    A perfect generator in the plane reaches 100 * (1 - exp(-sigmas²/2)), 98.9 % at 3.

    Args:
        sigmas: largest distance from a mode, in standard deviations of the mode, above 0.

    Source: Srivastava et al. (VEEGAN, 2017), section 5.1; Lin, Khetan, Fanti, Oh (PacGAN, 2018), section 4.1.
    """

    title = "Samples near a mode"
    unit = "%"
    better = "higher"
    needs = "data with known modes"

    sigmas: float = 3.0

    def __post_init__(self) -> None:
        _require_sigmas(self.sigmas)

    def applies(self, game: Game) -> bool:
        return isinstance(getattr(game, "data", None), Mixture)

    def __call__(self, context: EvaluationContext) -> float:
        if not context.samples.isfinite().all():
            return math.nan
        return 100 * len(_near_modes(context.samples, context.data, self.sigmas)) / len(context.samples)


__getattr__ = lookup(__name__)
