"""Precision, recall, density and coverage of generated samples, from balls that reach to the k-th neighbour."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from detente.errors import require
from detente.game import Game
from detente.metrics.base import Metric, Stamp
from detente.metrics.context import EvaluationContext
from detente.metrics.distances import Points, distance_to_neighbour, within
from detente.metrics.features import inception
from detente.metrics.features.extractor import of_data, of_samples, real_count, stamp
from detente.metrics.features.network import as_extractor, extractor_for, missing

PART = 1024  # rows of the distance matrix in memory at once


class Shares(NamedTuple):
    """The overlap of two sets of features.

    Args:
        precision: fraction of generated features within a ball around a real feature.
        recall: fraction of real features within a ball around a generated feature.
        density: mean number of balls around real features that contain a generated feature, divided by k.
        coverage: fraction of balls around real features that contain a generated feature.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbourhoods(real: Tensor, fake: Tensor, neighbours: int) -> Shares:
    """Return precision, recall, density and coverage from balls that reach to the k-th neighbour in the same set.

    precision = (1/n) Σ_j 1[∃i: |y_j − x_i| ≤ r_i],  recall the same with x and y exchanged,
    density = (1/kn) Σ_j Σ_i 1[|y_j − x_i| ≤ r_i],  coverage = (1/m) Σ_i 1[∃j: |y_j − x_i| ≤ r_i]

    Args:
        real: features x, (m, d), m > k; computed in float64.
        fake: features y, (n, d), n > k.
        neighbours: k, at least 1.

    Returns:
        The four numbers; NaN if a feature is not finite.

    Source: Kynkäänniemi et al. 2019, section 2; Naeem et al. 2020, equations 1 to 5.
    """
    fewest = min(len(real), len(fake))
    require(1 <= neighbours < fewest, "neighbours", neighbours, f"a whole number, 1 … {fewest - 1}")
    centre = real.double().mean(dim=0)
    x, y = Points.around(centre, real), Points.around(centre, fake)
    if not (x.squares.isfinite().all() and y.squares.isfinite().all()):
        return Shares(math.nan, math.nan, math.nan, math.nan)
    real_radii, fake_radii = _neighbour_distances(x, neighbours), _neighbour_distances(y, neighbours)
    ball_counts = torch.zeros(
        len(fake), dtype=torch.int64
    )  # balls around real features that contain each generated one
    recalled = covered = 0
    for start in range(0, len(real), PART):
        part = slice(start, start + PART)
        balls = within(x[part], y, real_radii[part, None])
        ball_counts += balls.sum(dim=0)
        covered += int(balls.any(dim=1).sum())
        recalled += int(within(x[part], y, fake_radii).any(dim=1).sum())
    return Shares(
        precision=float((ball_counts > 0).double().mean()),
        recall=recalled / len(real),
        density=float(ball_counts.double().mean()) / neighbours,
        coverage=covered / len(real),
    )


def _neighbour_distances(points: Points, neighbours: int) -> Tensor:
    """Return the distance from each point to its k-th nearest other point, (n,)."""
    parts = (points[start : start + PART] for start in range(0, len(points.rows), PART))
    return torch.cat([distance_to_neighbour(part, points, neighbours) for part in parts])


@dataclass(frozen=True)
class _NeighbourMetric(Metric):
    """The common part of the four metrics: equal numbers of real and generated samples."""

    unit = "%"
    better = "higher"
    needs = "images, the data set's classifier or another extractor, > k samples"
    share: ClassVar[str]  # the name of a field of `Shares`

    neighbours: int = 3
    extractor: Any = "classifier"

    def __post_init__(self) -> None:
        object.__setattr__(self, "extractor", as_extractor(self.extractor))
        is_count = type(self.neighbours) is int and self.neighbours >= 1
        require(is_count, "neighbours", self.neighbours, "a whole number, at least 1")

    def applies(self, game: Game) -> bool:
        return not self.missing(game)

    def missing(self, game: Game) -> str:
        return missing(self.extractor, game)

    def require_available(self) -> None:
        if self.extractor == "inception":
            inception.require_available()

    def stamp(self, context: EvaluationContext) -> Stamp:
        count = min(context.count, real_count(context.data))
        entries = stamp(context, extractor_for(self.extractor, context.data), count)
        return {**entries, "samples": count}

    def __call__(self, context: EvaluationContext) -> float:
        extractor = extractor_for(self.extractor, context.data)
        features, real = of_samples(context, extractor), of_data(context.data, extractor, context=context)
        count = min(len(features.features), len(real))
        if not features.defined or count <= self.neighbours:
            return math.nan
        shares = context.once(
            ("neighbourhoods", extractor, self.neighbours),
            lambda: neighbourhoods(real[:count], features.features[:count], self.neighbours),
        )
        return 100 * getattr(shares, self.share)


@dataclass(frozen=True)
class FeaturePrecision(_NeighbourMetric):
    """Fraction of generated samples near real samples in a network's features, which measures their quality.

    100 · #{j : y_j within the k-th neighbour's distance of a real x_i} / n

    Read it together with recall: samples that are all alike may lie in the large ball of a single outlier.

    Args:
        neighbours: k, at least 1; the paper uses 3.
        extractor: network of the features, as for `frechet_distance`.

    Source: Kynkäänniemi et al. 2019, section 2.
    """

    title = "Precision of features"
    share = "precision"


@dataclass(frozen=True)
class FeatureRecall(_NeighbourMetric):
    """Fraction of real samples near generated samples in a network's features, which measures their variety.

    100 · #{i : x_i within the k-th neighbour's distance of a generated y_j} / m

    Args:
        neighbours: k, at least 1; the paper uses 3.
        extractor: network of the features, as for `frechet_distance`.

    Source: Kynkäänniemi et al. 2019, section 2.
    """

    title = "Recall of features"
    share = "recall"


@dataclass(frozen=True)
class FeatureDensity(_NeighbourMetric):
    """Mean number of real samples' neighbourhoods that contain a generated sample, relative to k; may exceed 100 %.

    100 · Σ_j #{i : y_j within the k-th neighbour's distance of x_i} / (kn)

    Args:
        neighbours: k, at least 1; the paper uses 5.
        extractor: network of the features, as for `frechet_distance`.

    Source: Naeem et al. 2020, equation 3.
    """

    title = "Density of features"
    share = "density"

    neighbours: int = 5


@dataclass(frozen=True)
class FeatureCoverage(_NeighbourMetric):
    """Fraction of real samples with a generated sample nearer than their k-th neighbour, in a network's features.

    100 · #{i : some y_j within the k-th neighbour's distance of x_i} / m

    Args:
        neighbours: k, at least 1; the paper uses 5.
        extractor: network of the features, as for `frechet_distance`.

    Source: Naeem et al. 2020, equation 4.
    """

    title = "Coverage of features"
    share = "coverage"

    neighbours: int = 5
