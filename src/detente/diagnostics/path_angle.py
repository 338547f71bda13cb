"""The field along the straight line between two states, which shows attraction or rotation."""

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
    """The norm and angle of the field along a line, float64, each (points,).

    Args:
        position: α; 0 is the first state and 1 the second.
        angle: c(α), cosine of the angle between the line's direction and v; NaN if v = 0.
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

    v is the descent field. If x₁ is purely attracting, c switches from −1 to 1 at α = 1. If x₁ is purely rotating, c is
    0, or has a bump of one sign if the line misses the centre. In both cases ‖v‖ decreases to zero.

    Args:
        game: the game.
        first: x₀, for example the state before training; it does not change.
        second: x₁, for example the state after training; its buffers are used at all points. It does not change.
        batch: the batch for all points.
        points: number of points, ≥ 2.
        extent: the first and the last α.

    Raises:
        InvalidValue: the two states are equal, or an argument is out of range.

    Source: Berard et al. 2019, A Closer Look at the Optimization Landscapes of GANs (arXiv:1906.04848), section 4.
    """
    require(points >= 2, "points", points, "an integer ≥ 2")
    require(extent[0] < extent[1], "extent", extent, "two numbers, the smaller first")
    line = {name: second.vectors[name] - first.vectors[name] for name in game.players}
    length = _stacked(game, line).norm()
    require(bool(length > 0), "second", "the same point as first", "a state different from the first")
    direction = _stacked(game, line) / length
    position = torch.linspace(*extent, points, dtype=torch.float64)
    angle, norm = torch.zeros_like(position), torch.zeros_like(position)
    for index, alpha in enumerate(position.tolist()):
        point = {name: first.vectors[name] + alpha * line[name] for name in game.players}
        v = _stacked(game, vector_field(game, point, second.buffers, batch).field)
        norm[index] = v.norm()
        angle[index] = (direction @ v) / v.norm()  # 0/0 is NaN, as documented
    return Path(position, angle, norm)


def _stacked(game: Game, vectors: Vectors) -> Tensor:
    """Return all players' blocks as one vector, float64, so that norms of long vectors are accurate."""
    return torch.cat([vectors[name] for name in game.players]).double()
