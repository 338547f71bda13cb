"""The field along the straight line between two states: does the path attract, or does it rotate?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detente.autodiff import vector_field
from detente.errors import require
from detente.game import Batch, Game, Vectors
from detente.state import State


@dataclass(frozen=True)
class Path:
    """What the field does along a line, float64, each (points,).

    Args:
        position: α; 0 is the first state and 1 the second.
        angle: c(α), cosine of the angle between the line's direction and v; NaN where v = 0.
        norm: ‖v‖.
    """

    position: Tensor
    angle: Tensor
    norm: Tensor


def path_angle(
    game: Game,
    first: State,
    second: State,
    batch: Batch,
    points: int = 101,
    extent: tuple[float, float] = (-0.2, 1.4),
) -> Path:
    """Return norm and angle of the field on the line x_α = α x₁ + (1−α) x₀: c(α) = ⟨x₁−x₀, v(x_α)⟩/(‖x₁−x₀‖‖v(x_α)‖).

    v is the descent field, so at a purely attracting end c switches from −1 to 1 at α = 1; at a purely rotating one
    c is 0, or has a bump of one sign where the line misses the centre. ‖v‖ falls to zero at both.

    Args:
        game: the game.
        first: x₀, for instance the state before training; it is not changed.
        second: x₁, for instance the state after it, whose buffers are used all along; it is not changed.
        batch: one batch, for all points.
        points: number of points, ≥ 2.
        extent: the first and the last α.

    Raises:
        InvalidValue: the two states are the same, or an argument is out of range.

    Source: Berard et al. 2019, A Closer Look at the Optimization Landscapes of GANs (arXiv:1906.04848), section 4.
    """
    require(points >= 2, "points", points, "an integer ≥ 2")
    require(extent[0] < extent[1], "extent", extent, "two numbers, the smaller first")
    line = {name: second.vectors[name] - first.vectors[name] for name in game.players}
    length = _stacked(game, line).norm()
    require(bool(length > 0), "second", "the same point as first", "another state than the first")
    direction = _stacked(game, line) / length
    position = torch.linspace(*extent, points, dtype=torch.float64)
    angle, norm = torch.zeros_like(position), torch.zeros_like(position)
    for index, alpha in enumerate(position.tolist()):
        at = {name: first.vectors[name] + alpha * line[name] for name in game.players}
        v = _stacked(game, vector_field(game, at, second.buffers, batch).field)
        norm[index] = v.norm()
        angle[index] = (direction @ v) / v.norm()  # 0/0 is NaN, as said
    return Path(position, angle, norm)


def _stacked(game: Game, vectors: Vectors) -> Tensor:
    """Return all players' blocks as one vector, float64, so that norms of many numbers are exact enough."""
    return torch.cat([vectors[name] for name in game.players]).double()
