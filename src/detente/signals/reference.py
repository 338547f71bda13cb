"""Real samples as the standard that generated ones are measured against, without labels or a network."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from detente.metrics.distances import Points, squared_distances

DIRECTIONS = 32  # principal directions of samples of more numbers
CELLS = 32
FEWEST = 4  # samples; fewer are repeated
PER_CELL = 16  # real samples in a cell, on average, at least


@dataclass(frozen=True)
class Quality:
    """How near generated samples are to real ones; each number is 1 for samples as good as real ones.

    Args:
        variance: total variance of the generated samples divided by that of the real ones.
        coverage: covered share of the real samples' neighbourhoods, relative to other real samples.
        precision: share of samples in a neighbourhood of a real sample, relative to other real samples.
        distance: energy distance to the real samples, in units of their mean distance; 0 for samples as good as real.
        cells: share of the real samples' cells (k-means) with at least a quarter of their real share.
        spread: mean over directions of min(σ/σ_real, σ_real/σ).
    """

    variance: float
    coverage: float
    precision: float
    distance: float
    cells: float
    spread: float

    @property
    def score(self) -> float:
        """One number to compare set-ups, at most about 1; higher is better."""
        values = (self.variance, self.coverage, self.precision, self.distance)
        if not all(map(math.isfinite, values)):
            return -math.inf
        away = 1.7 * math.sqrt(min(1.0, self.distance)) + 0.1 * math.log(max(1.0, self.distance))  # nearer is better
        width = self.spread * min(self.variance, 1 / max(self.variance, 1e-12))
        precise = 0.25 * min(1.0, self.coverage) + 0.15 * min(1.0, self.precision)
        return precise + 0.1 * self.cells + 0.1 * width + 0.4 * (1 - away)


class Reference:
    """Real samples in two halves: the first is the standard, the second says how near to it real samples are.

    Samples of up to `DIRECTIONS` numbers are standardised; others are projected onto their principal directions.

    Args:
        real: real samples, (count, …), at least 32.
    """

    def __init__(self, real: Tensor) -> None:
        rows = real.double().flatten(1)
        rows = rows.repeat(-(-FEWEST // len(rows)), 1) if len(rows) < FEWEST else rows
        self.mean, self.count = rows.mean(0), len(rows) // 2
        centred = rows - self.mean
        if rows.shape[1] <= DIRECTIONS or not bool(centred.any()):
            scale = centred.std(0)
            self.basis = torch.diag(1 / torch.where(scale > 0, scale, _size_of_constants(scale, self.mean)))
        else:
            _, values, directions = torch.linalg.svd(centred, full_matrices=False)
            count = min(DIRECTIONS, int((values > 1e-6 * values[0]).sum()))
            self.basis = directions[:count].T * (math.sqrt(len(rows)) / values[0])  # relative sizes are kept
        features = centred @ self.basis
        self.features, self.other = features[: self.count], features[self.count :]
        self.lowest, self.highest = float(rows.min()), float(rows.max())

    def project(self, samples: Tensor) -> Tensor:
        """Return the features of samples, (count, d) float64."""
        return (samples.double().flatten(1) - self.mean) @ self.basis

    def nearest(self, samples: Tensor) -> Tensor:
        """Return the index of the cell of each sample, (count,)."""
        return torch.cdist(self.project(samples), self.centres).argmin(1)

    def shares(self, samples: Tensor) -> Tensor:
        """Return the share of samples in each cell, (cells,)."""
        return torch.bincount(self.nearest(samples), minlength=len(self.centres)) / len(samples)

    @cached_property
    def centres(self) -> Tensor:
        """Centres of the cells, (cells, d), by k-means."""
        cells = max(2, min(CELLS, self.count // PER_CELL))
        if bool((self.features == self.features[0]).all()):
            return self.features[:1]
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of cells that stay empty, since samples are equal
            centres, _ = kmeans2(self.features.numpy(), cells, minit="++", rng=0, missing="warn")
        return torch.from_numpy(centres)

    @cached_property
    def real_shares(self) -> Tensor:
        """Share of real samples in each cell, (cells,)."""
        both = torch.cat([self.features, self.other])
        return torch.bincount(torch.cdist(both, self.centres).argmin(1), minlength=len(self.centres)) / len(both)

    @cached_property
    def own_distance(self) -> float:
        """The energy distance of the second half of the real samples, which few samples make larger than 0."""
        return self._distance(self.other)

    def quality(self, samples: Tensor) -> Quality:
        """Return how near samples are to the real ones."""
        features = self.project(samples)
        if not bool(features.isfinite().all()) or float(features.abs().max()) > 1e6:
            return Quality(math.nan, math.nan, math.nan, math.nan, 0.0, 0.0)
        covered, precise = self._overlap(features)
        best_covered, best_precise = self._own_overlap
        shares = torch.bincount(torch.cdist(features, self.centres).argmin(1), minlength=len(self.centres)) / len(
            features
        )
        varying = self.features.std(0) > 0
        real, fake = self.features.std(0)[varying], features.std(0)[varying]
        total, unit = self.features.var(0).sum(), 0.0 if bool(varying.any()) else 1.0  # of data that are one point
        return Quality(
            variance=float((features.var(0).sum() + unit) / (total + unit)),
            coverage=covered / best_covered,
            precision=precise / best_precise,
            distance=self._distance(features),
            cells=float((shares >= 0.25 * self.real_shares).double().mean()),
            spread=float(torch.minimum(fake / real, real / fake.clamp(min=1e-12)).mean()) if len(real) else 1.0,
        )

    @cached_property
    def _radii(self) -> Tensor:
        distances = torch.cdist(self.features, self.features)
        return distances.kthvalue(min(6, self.count), dim=1).values  # the nearest is the sample itself

    def _overlap(self, features: Tensor) -> tuple[float, float]:
        inside = torch.cdist(self.features, features[: self.count]) <= self._radii[:, None]
        return float(inside.any(1).double().mean()), float(inside.any(0).double().mean())

    @cached_property
    def _own_overlap(self) -> tuple[float, float]:
        return self._overlap(self.other)

    def _distance(self, features: Tensor) -> float:
        between = torch.cdist(self.features, features).mean()
        within = mean_distance(self.features)
        value = 2 * between - within - mean_distance(features)
        return max(0.0, float(value / within if float(within) > 0 else value))  # a single point has no size of its own


def _size_of_constants(scale: Tensor, mean: Tensor) -> Tensor:
    """Return units for columns that are constant, in which a generator that comes near counts as near, (columns,).

    Three times the value or the usual deviation of other columns; 1 if all columns are constant, as they have no size.
    """
    varying = scale[scale > 0]
    return 3 * mean.abs().clamp(min=float(varying.median())) if len(varying) else torch.ones_like(scale)


def mean_distance(points: Tensor) -> Tensor:
    """Return the mean distance of two different points, ()."""
    return torch.cdist(points, points).sum() / (len(points) * (len(points) - 1))


def distances_to_nearest(points: Tensor, among: Tensor) -> Tensor:
    """Return the distance from each point, (n, d), to the nearest of `among`, (m, d)."""
    centre = among.mean(0)
    squares = squared_distances(Points.around(centre, points), Points.around(centre, among))
    return squares.min(1).values.clamp(min=0).sqrt()
