"""How likely real points are under a kernel density of generated ones, and what share of them is covered."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.distance import pdist
from sklearn.neighbors import KernelDensity

from detente.errors import require
from detente.game import Game
from detente.metrics.base import Metric
from detente.probe import Subject

FOLDS = 5
FACTORS = 2.0 ** np.arange(-7, 7)  # of the median distance: AdaGAN's candidates


@dataclass(frozen=True)
class _ByDensity(Metric):
    """What both numbers share: `count` points of a space of few dimensions, looked at only when asked for."""

    routine = False

    count: int = 500

    def __post_init__(self) -> None:
        require(type(self.count) is int and self.count >= 10, "count", self.count, "a whole number, at least 10")

    def applies(self, game: Game) -> bool:
        shape = getattr(getattr(game, "data", None), "shape", ())
        return len(shape) == 1 and shape[0] <= 10  # a kernel density says nothing in many dimensions


@dataclass(frozen=True)
class LogLikelihood(_ByDensity):
    """Mean log-density of real points under a Gaussian kernel density of generated ones.

    (1/m) Σ_j log p̂(x_j),  p̂ from `count` generated points, bandwidth by five-fold cross-validation on them among the
    median distance × 2^{−7 … 6}

    Args:
        count: generated points that make the density, at least 10; the paper takes 500.

    Source: Chavdarova & Fleuret 2018, SGAN, appendix 1.2 (cross-validated bandwidth, 500 samples).
    """

    title = "Log-likelihood of real points"
    unit = "nats"
    better = "higher"

    def __call__(self, subject: Subject) -> float:
        fake, real = _points(subject, self.count)
        return float(_density(fake).score_samples(real).mean()) if np.isfinite(fake).all() else math.nan


@dataclass(frozen=True)
class Coverage(_ByDensity):
    """Share of real points that lie where the generator puts its mass.

    100 · #{j : p̂(x_j) > t} / m,  t the 5 % quantile of p̂ over the generated points themselves, p̂ as for the
    log-likelihood

    Args:
        count: generated points that make the density, at least 10.

    Source: Tolstikhin et al. 2017, AdaGAN, section 4 (its code for the 5 % quantile).
    """

    title = "Coverage"
    unit = "%"
    better = "higher"

    def __call__(self, subject: Subject) -> float:
        fake, real = _points(subject, self.count)
        if not np.isfinite(fake).all():
            return math.nan
        density = _density(fake)
        least = np.quantile(density.score_samples(fake), 0.05)
        return 100 * float((density.score_samples(real) > least).mean())


def _points(subject: Subject, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return generated and real points, float64."""
    fake = subject.samples[:count]
    real = subject.data.draw(len(subject.samples), subject.generator)["real"]
    return fake.double().cpu().numpy(), real.double().cpu().numpy()


def _density(points: np.ndarray) -> KernelDensity:
    """Return the kernel density with the bandwidth that makes held-out points most likely."""
    middle = max(float(np.median(pdist(points))), torch.finfo(torch.float32).tiny)
    parts = np.arange(len(points)) % FOLDS  # generated points come in no order

    def held_out(bandwidth: float) -> float:
        densities = (
            (KernelDensity(bandwidth=bandwidth).fit(points[parts != k]), points[parts == k]) for k in range(FOLDS)
        )
        return sum(density.score(part) for density, part in densities)

    return KernelDensity(bandwidth=max(middle * FACTORS, key=held_out)).fit(points)
