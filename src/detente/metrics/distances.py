"""Euclidean distances that are fast and exact: a matrix product, and differences where its error matters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SPARE = 4  # additional candidates for the k-th neighbour


@dataclass(frozen=True)
class Points:
    """Points in float64.

    Args:
        rows: the points, (n, d).
        centred: the points relative to a centre, (n, d).
        squares: Σ centred², (n,); not finite if the point is not.
    """

    rows: Tensor
    centred: Tensor
    squares: Tensor

    @classmethod
    def around(cls, centre: Tensor, points: Tensor) -> Points:
        """Return points, (n, d), with their positions relative to a centre, (d,) float64."""
        rows = points.double()
        centred = rows - centre
        return cls(rows, centred, centred.square().sum(dim=1))

    def __getitem__(self, index: slice | Tensor) -> Points:
        return Points(self.rows[index], self.centred[index], self.squares[index])

    @property
    def rounding(self) -> float:
        """Bound on the error of `squared_distances`, relative to |x|² + |y|²."""
        return 2 * (self.rows.shape[1] + 8) * torch.finfo(self.rows.dtype).eps


def squared_distances(first: Points, second: Points) -> Tensor:
    """Return |x|² + |y|² − 2 x·y, (n, m), from one matrix product: fast, with an error of `Points.rounding`."""
    first_ones, second_ones = torch.ones_like(first.squares), torch.ones_like(second.squares)
    augmented = torch.cat([-2 * first.centred, first.squares[:, None], first_ones[:, None]], dim=1)
    return augmented @ torch.cat([second.centred, second_ones[:, None], second.squares[:, None]], dim=1).T


def distances(first: Tensor, second: Tensor) -> Tensor:
    """Return √Σ(x − y)², (…, n, m), of (…, n, d) and (…, m, d): slow, but exact to rounding and reproducible."""
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")


def within(first: Points, second: Points, radii: Tensor) -> Tensor:
    """Return whether |x − y| ≤ radius, bool (n, m); `distances` decides wherever the fast distances could be wrong.

    Args:
        first: x, n points.
        second: y, m points.
        radii: (n, 1) or (m,), computed by `distances`.
    """
    squares = first.squares[:, None] if radii.dim() == 2 else second.squares
    limits = radii.square()
    # If |x − y|² is near the limit, |y|² ≤ 2|x|² + 2|x − y|², and vice versa.
    error = first.rounding * (3 * squares + 3 * limits)
    excess = squared_distances(first, second) - limits
    inside = excess <= 0
    doubtful = (excess.abs_() <= error).any(dim=1)
    if doubtful.any():
        radii = radii[doubtful] if radii.dim() == 2 else radii
        inside[doubtful] = distances(first.rows[doubtful], second.rows) <= radii
    return inside


def distance_to_neighbour(points: Points, among: Points, count: int) -> Tensor:
    """Return the distance from each point to its k-th nearest other point, (n,), equal to that of `distances`.

    Args:
        points: n points, all contained in `among`.
        among: m > k points.
        count: k ≥ 1.
    """
    fast = squared_distances(points, among)
    nearest, indices = fast.topk(min(count + 1 + SPARE, len(among.rows)), dim=1, largest=False)
    candidates = distances(points.rows[:, None], among.rows[indices])[:, 0]
    kth = candidates.sort(dim=1).values[:, count]  # the nearest of all is the point itself
    if nearest.shape[1] < len(among.rows):
        limit = nearest[:, count]
        doubtful = nearest[:, -1] - limit <= 2 * points.rounding * (3 * points.squares + 3 * limit.clamp(min=0))
        if doubtful.any():
            exact = distances(points.rows[doubtful], among.rows)
            kth[doubtful] = exact.topk(count + 1, dim=1, largest=False).values[:, -1]
    return kth
