"""Which samples lie among the real ones, and which real ones among the samples: balls that reach to neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from detente.errors import require
from detente.game import Game
from detente.metrics.base import Metric
from detente.metrics.context import EvaluationContext
from detente.metrics.distances import Points, distance_to_neighbour, within
from detente.metrics.features import classifier
from detente.metrics.features.extractor import of_data, of_samples

PART = 1024  # rows of a matrix of distances that are held at once


class Shares(NamedTuple):
    """How two sets of features lie among each other.

    Args:
        precision: share of generated features within a ball around a real one.
        recall: share of real features within a ball around a generated one.
        density: how many balls around real features a generated one lies within, over k.
        coverage: share of balls around real features that a generated one lies within.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbourhoods(real: Tensor, fake: Tensor, neighbours: int) -> Shares:
    """Return precision, recall, density and coverage by balls that reach to the k-th nearest of their own kind.

    precision = (1/n) Σ_j 1[∃i: |y_j − x_i| ≤ r_i],  recall the same with x and y exchanged,
    density = (1/kn) Σ_j Σ_i 1[|y_j − x_i| ≤ r_i],  coverage = (1/m) Σ_i 1[∃j: |y_j − x_i| ≤ r_i]

    Args:
        real: features x, (m, d), m > k; computed in float64.
        fake: features y, (n, d), n > k.
        neighbours: k, at least 1.

    Returns:
        The shares; NaN where a feature is not finite.

    Source: Kynkäänniemi et al. 2019, section 2; Naeem et al. 2020, equations 1 to 5.
    """
    fewest = min(len(real), len(fake))
    require(1 <= neighbours < fewest, "neighbours", neighbours, f"a whole number, 1 … {fewest - 1}")
    centre = real.double().mean(dim=0)
    x, y = Points.around(centre, real), Points.around(centre, fake)
    if not (x.squares.isfinite().all() and y.squares.isfinite().all()):
        return Shares(math.nan, math.nan, math.nan, math.nan)
    reach, other_reach = _reach(x, neighbours), _reach(y, neighbours)
    inside = torch.zeros(len(fake), dtype=torch.int64)  # how many balls around real features each generated one is in
    recalled = covered = 0
    for start in range(0, len(real), PART):
        part = slice(start, start + PART)
        balls = within(x[part], y, reach[part, None])
        inside += balls.sum(dim=0)
        covered += int(balls.any(dim=1).sum())
        recalled += int(within(x[part], y, other_reach).any(dim=1).sum())
    return Shares(
        precision=float((inside > 0).double().mean()),
        recall=recalled / len(real),
        density=float(inside.double().mean()) / neighbours,
        coverage=covered / len(real),
    )


def _reach(points: Points, neighbours: int) -> Tensor:
    """Return the distance of each point's k-th nearest other point, (n,)."""
    parts = (points[start : start + PART] for start in range(0, len(points.rows), PART))
    return torch.cat([distance_to_neighbour(part, points, neighbours) for part in parts])


@dataclass(frozen=True)
class _AmongNeighbours(Metric):
    """What the four share: as many real as generated samples, in the features of the data set's own classifier."""

    unit = "%"
    better = "higher"
    share: ClassVar[str]  # which of `Shares`

    neighbours: int = 3

    def __post_init__(self) -> None:
        whole = type(self.neighbours) is int and self.neighbours >= 1
        require(whole, "neighbours", self.neighbours, "a whole number, at least 1")

    def applies(self, game: Game) -> bool:
        return classifier.fits(game)

    def __call__(self, subject: EvaluationContext) -> float:
        extractor = classifier.of(subject.data)
        features, real = of_samples(subject, extractor), of_data(subject.data, extractor)
        count = min(len(features.features), len(real))
        if not features.defined or count <= self.neighbours:
            return math.nan
        shares = subject.once(
            ("neighbourhoods", extractor.key, self.neighbours),
            lambda: neighbourhoods(real[:count], features.features[:count], self.neighbours),
        )
        return 100 * getattr(shares, self.share)


@dataclass(frozen=True)
class FeaturePrecision(_AmongNeighbours):
    """Share of generated samples that lie among the real ones in the classifier's features: are they good?

    100 · #{j : y_j within the k-th neighbour's distance of a real x_i} / n

    Read it beside recall: samples that are all alike may lie in the wide ball of one odd real sample.

    Args:
        neighbours: k, at least 1; the paper takes 3.

    Source: Kynkäänniemi et al. 2019, section 2.
    """

    title = "Precision of features"
    share = "precision"


@dataclass(frozen=True)
class FeatureRecall(_AmongNeighbours):
    """Share of real samples that lie among the generated ones in the classifier's features: are they varied?

    100 · #{i : x_i within the k-th neighbour's distance of a generated y_j} / m

    Args:
        neighbours: k, at least 1; the paper takes 3.

    Source: Kynkäänniemi et al. 2019, section 2.
    """

    title = "Recall of features"
    share = "recall"


@dataclass(frozen=True)
class FeatureDensity(_AmongNeighbours):
    """How many real samples' neighbourhoods a generated one lies within, against k; it may pass 100 %.

    100 · Σ_j #{i : y_j within the k-th neighbour's distance of x_i} / (kn)

    Args:
        neighbours: k, at least 1; the paper takes 5.

    Source: Naeem et al. 2020, equation 3.
    """

    title = "Density of features"
    share = "density"

    neighbours: int = 5


@dataclass(frozen=True)
class FeatureCoverage(_AmongNeighbours):
    """Share of real samples with a generated one nearer than their k-th neighbour, in the classifier's features.

    100 · #{i : some y_j within the k-th neighbour's distance of x_i} / m

    Args:
        neighbours: k, at least 1; the paper takes 5.

    Source: Naeem et al. 2020, equation 4.
    """

    title = "Coverage of features"
    share = "coverage"

    neighbours: int = 5
