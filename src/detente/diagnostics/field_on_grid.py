"""Values on a grid in the plane: the field of a game with two parameters, and the scores of a discriminator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from detente.deprecated import lookup
from detente.errors import require
from detente.fields.base import Field
from detente.fields.gradient import Gradient
from detente.game import Batch, Game
from detente.state import State

Extent = tuple[float, float, float, float]  # xmin, xmax, ymin, ymax


@dataclass(frozen=True)
class FieldGrid:
    """A field on a grid; players move along (−u, −v).

    Args:
        x: first coordinate of each column, (r,).
        y: second coordinate of each row, (r,).
        u: first component of the field, (r, r), rows of equal y.
        v: second component of the field, (r, r).
    """

    x: Tensor
    y: Tensor
    u: Tensor
    v: Tensor


def field_on_grid(
    game: Game, state: State, batch: Batch, extent: Extent, resolution: int = 21, field: Field | None = None
) -> FieldGrid:
    """Return the field of a game with two parameters in total, on a grid.

    Args:
        game: the game.
        state: a state with the shapes, dtype and buffers to use; it does not change.
        batch: the batch for all points.
        extent: (xmin, xmax, ymin, ymax) of the first and the second parameter, in the order of `game.players`.
        resolution: r, points along each side, ≥ 2.
        field: the field, with new memory at each point; default: the gradient field v.

    Raises:
        InvalidValue: the game does not have two parameters, or an argument is out of range.
    """
    sizes = [len(state.vectors[name]) for name in game.players]
    require(sum(sizes) == 2, "game", sum(sizes), "a game with two parameters in total")
    first = state.vectors[game.players[0]]
    x, y = (side.to(first) for side in _sides(extent, resolution))
    field = field or Gradient()
    arrows = []
    for point in torch.cartesian_prod(y, x).flip(1):
        vectors = dict(zip(game.players, point.split(sizes), strict=True))
        memory = field.initial(game, vectors, state.buffers)
        blocks = field(game, vectors, state.buffers, batch, memory, game.players)[0].field
        arrows.append(torch.cat([blocks[name] for name in game.players]))
    u, v = torch.stack(arrows).reshape(resolution, resolution, 2).unbind(-1)
    return FieldGrid(x, y, u, v)


def level_sets(game: Any, state: State, extent: Extent, resolution: int = 64) -> Tensor:
    """Return the discriminator's scores on a grid of points in the plane, float32, (r, r), rows of equal y.

    Args:
        game: a game of points in the plane that has `scores(state, samples)`, such as `Adversarial`.
        state: the state; it does not change.
        extent: (xmin, xmax, ymin, ymax).
        resolution: r, points along each side, ≥ 2.

    Raises:
        InvalidValue: the game has no scores, the data are not points in the plane, or an argument is out of range.
    """
    require(hasattr(game, "scores"), "game", type(game).__name__, "a game with a discriminator")
    shape = tuple(game.data.shape)
    require(shape == (2,), "game", shape, "data of shape (2,), points in the plane")
    vector = next(iter(state.vectors.values()))
    x, y = _sides(extent, resolution)
    points = torch.cartesian_prod(y, x).flip(1).to(vector)
    return game.scores(state, points).reshape(resolution, resolution).float().cpu()


def _sides(extent: Extent, resolution: int) -> tuple[Tensor, Tensor]:
    """Return the grid's x and y, float64, (r,) each."""
    require(resolution >= 2, "resolution", resolution, "an integer ≥ 2")
    left, right, bottom, top = extent
    require(left < right and bottom < top, "extent", extent, "(xmin, xmax, ymin, ymax) with xmin < xmax, ymin < ymax")
    x = torch.linspace(left, right, resolution, dtype=torch.float64)
    return x, torch.linspace(bottom, top, resolution, dtype=torch.float64)


__getattr__ = lookup(__name__)
