"""Log-likelihood and coverage of real points under a kernel density of generated points."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from detente.errors import require
from detente.game import Game
from detente.metrics.base import Metric, Stamp
from detente.metrics.context import EvaluationContext

FOLDS = 5
PART = 1024  # rows of the distance matrix in memory at once
FACTORS = 2.0 ** np.arange(-7, 7)  # candidate bandwidths, as multiples of the median distance, from AdaGAN


@dataclass(frozen=True)
class _DensityMetric(Metric):
    """The common part of both metrics: `count` points in few dimensions, measured only on request."""

    needs = "data of at most 10 numbers a sample, ≥ 2 samples"
    routine = False

    count: int = 500

    def __post_init__(self) -> None:
        require(type(self.count) is int and self.count >= 10, "count", self.count, "a whole number, at least 10")

    def applies(self, game: Game) -> bool:
        shape = getattr(getattr(game, "data", None), "shape", ())
        return len(shape) == 1 and shape[0] <= 10  # a kernel density is meaningless in many dimensions

    def stamp(self, context: EvaluationContext) -> Stamp:
        return {"real": context.count, "samples": min(self.count, context.count)}


@dataclass(frozen=True)
class LogLikelihood(_DensityMetric):
    """Mean log-density of real points under a Gaussian kernel density of generated points.

    (1/m) Σ_j log p̂(x_j),  p̂ from `count` generated points, with bandwidth by five-fold cross-validation on these
    points among the median distance × 2^{−7 … 6}

    Args:
        count: number of generated points for the density, at least 10; the paper uses 500.

    Source: Chavdarova & Fleuret 2018, SGAN, appendix 1.2 (cross-validated bandwidth, 500 samples).
    """

    title = "Log-likelihood of real points"
    unit = "nats"
    better = "higher"

    def __call__(self, context: EvaluationContext) -> float:
        fake, real = _points(context, self.count)
        return float(log_density(fake, real, bandwidth(fake)).mean()) if _defined(fake, real) else math.nan


@dataclass(frozen=True)
class Coverage(_DensityMetric):
    """Percentage of real points in the region where the generator has its mass.

    100 · #{j : p̂(x_j) > t} / m,  t the 5 % quantile of p̂ over the generated points, p̂ as for the log-likelihood

    Args:
        count: number of generated points for the density, at least 10.

    Source: Tolstikhin et al. 2017, AdaGAN, section 4 (its code for the 5 % quantile).
    """

    title = "Coverage"
    unit = "%"
    better = "higher"

    def __call__(self, context: EvaluationContext) -> float:
        fake, real = _points(context, self.count)
        if not _defined(fake, real):
            return math.nan
        width = bandwidth(fake)
        threshold = np.quantile(log_density(fake, fake, width), 0.05)
        return 100 * float((log_density(fake, real, width) > threshold).mean())


def _points(context: EvaluationContext, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return generated and real points, float64."""
    fake = context.samples[:count]
    real = context.data.draw(len(context.samples), context.generator)["real"]
    return fake.double().cpu().numpy(), real.double().cpu().numpy()


def _defined(fake: np.ndarray, real: np.ndarray) -> bool:
    """Return whether the density is defined: at least two generated points, and all points finite."""
    return len(fake) > 1 and bool(np.isfinite(fake).all() and np.isfinite(real).all())


def log_density(points: np.ndarray, at: np.ndarray, width: float) -> np.ndarray:
    """Return log p̂(x) = log Σ_i exp(−|x − x_i|²/(2h²)) − log n − (d/2) log(2πh²) for each x, (m,) float64.

    Args:
        points: x_i, (n, d) float64, n ≥ 1.
        at: x, (m, d) float64.
        width: the bandwidth h, > 0.
    """
    from scipy.spatial.distance import cdist  # here, because every training imports all metrics
    from scipy.special import logsumexp

    count, size = points.shape
    constant = math.log(count) + size / 2 * math.log(2 * math.pi) + size * math.log(width)
    parts = (at[start : start + PART] for start in range(0, len(at), PART))
    sums = [logsumexp(-0.5 * cdist(part / width, points / width, "sqeuclidean"), axis=1) for part in parts]
    return np.concatenate(sums) - constant


def bandwidth(points: np.ndarray) -> float:
    """Return the candidate bandwidth that maximises the likelihood of held-out points; points are (n, d), n ≥ 2."""
    from scipy.spatial.distance import pdist

    median = max(float(np.median(pdist(points))), torch.finfo(torch.float32).tiny)
    parts = np.arange(len(points)) % FOLDS  # generated points are in random order
    folds = [(points[parts != k], points[parts == k]) for k in range(min(FOLDS, len(points)))]

    def held_out_likelihood(width: float) -> float:
        return sum(float(log_density(training, part, width).sum()) for training, part in folds)

    return max((median * FACTORS).tolist(), key=held_out_likelihood)
