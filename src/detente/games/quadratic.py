"""Two-player games with linear fields, for which the steps of methods have closed forms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from detente.errors import InvalidValue, require
from detente.game import Batch, Buffers, Game, Vectors

Matrix = Sequence[Sequence[float]] | Tensor


class Quadratic(Game):
    """Quadratic losses: L_x = ½xᵀAx + xᵀBy (− ½yᵀCy), L_y = ½yᵀCy + yᵀEx, with v'(x, y) = [[A, B], [E, C]].

    If `back` is None, the game is zero-sum: L_x = f = ½xᵀAx + xᵀBy − ½yᵀCy, L_y = −f, so E = −Bᵀ.

    Args:
        own_x: A, symmetric (n, n).
        coupling: B, (n, m).
        own_y: C, symmetric (m, m).
        back: E, (m, n), for a general-sum game.
        start: initial point of both players, x then y (n + m numbers); default: standard normal, drawn per seed.

    Source: Balduzzi et al. 2018, The Mechanics of n-Player Differentiable Games (arXiv:1802.05642), section 2.
    """

    def __init__(
        self,
        own_x: Matrix = ((0.0,),),
        coupling: Matrix = ((1.0,),),
        own_y: Matrix = ((0.0,),),
        back: Matrix | None = None,
        start: Sequence[float] | None = None,
    ) -> None:
        self.own_x, self.own_y = _symmetric("own_x", own_x), _symmetric("own_y", own_y)
        self.n, self.m = len(self.own_x), len(self.own_y)
        self.coupling = _matrix("coupling", coupling, self.n, self.m)
        self.back = None if back is None else _matrix("back", back, self.m, self.n)
        self.zero_sum = back is None
        if start is not None:
            require(len(start) == self.n + self.m, "start", list(start), f"{self.n + self.m} numbers, x then y")
        self.start = start
        self.solution = {"x": torch.zeros(self.n).double(), "y": torch.zeros(self.m).double()}

    @property
    def players(self) -> tuple[str, ...]:
        """The minimiser x and the other player y."""
        return ("x", "y")

    def initial(self, generator: torch.Generator) -> tuple[Vectors, Buffers]:
        """Return the initial point, float64."""
        if self.start is None:
            point = torch.randn(self.n + self.m, generator=generator, dtype=torch.float64)
        else:
            point = torch.tensor(list(self.start), dtype=torch.float64)
        return {"x": point[: self.n].clone(), "y": point[self.n :].clone()}, {}

    def losses(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Buffers]:
        """Return both losses, whichever are requested, since they are cheap."""
        x, y = vectors["x"], vectors["y"]
        own_x, coupling, own_y = (matrix.to(x.device) for matrix in (self.own_x, self.coupling, self.own_y))
        x_term, y_term, mutual = 0.5 * x @ (own_x @ x), 0.5 * y @ (own_y @ y), x @ (coupling @ y)
        if self.back is None:
            value = x_term + mutual - y_term
            return {"x": value, "y": -value}, buffers
        return {"x": x_term + mutual, "y": y_term + y @ (self.back.to(x.device) @ x)}, buffers


class Bilinear(Game):
    """The bilinear game, on which gradient descent does not converge: f(x, y) = σ xᵀy, L_x = f, L_y = −f.

    Args:
        dimension: length of x and of y, ≥ 1.
        scale: σ, the singular value of the coupling, > 0.
        start: initial point of both players, x then y; default: standard normal, drawn per seed.

    Source: Gidel et al. 2019 (arXiv:1802.10551), section 2.2; Mescheder et al. 2017, section 3.
    """

    zero_sum = True

    def __init__(self, dimension: int = 1, scale: float = 1.0, start: Sequence[float] | None = None) -> None:
        require(dimension >= 1, "dimension", dimension, "an integer ≥ 1")
        require(scale > 0, "scale", scale, "a number > 0")
        zeros = torch.zeros(dimension, dimension).double()
        self.scale = scale
        self._quadratic = Quadratic(zeros, scale * torch.eye(dimension).double(), zeros, start=start)
        self.solution = self._quadratic.solution

    @property
    def players(self) -> tuple[str, ...]:
        """The minimiser x and the maximiser y."""
        return ("x", "y")

    def initial(self, generator: torch.Generator) -> tuple[Vectors, Buffers]:
        """Return the initial point, float64."""
        return self._quadratic.initial(generator)

    def losses(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Buffers]:
        """Return f and −f."""
        value = self.scale * (vectors["x"] @ vectors["y"])
        return {"x": value, "y": -value}, buffers


def _matrix(field: str, values: Matrix, rows: int, columns: int) -> Tensor:
    try:
        matrix = torch.as_tensor(values, dtype=torch.float64)
    except (ValueError, TypeError) as error:
        raise InvalidValue(field, values, f"a matrix of {rows} rows and {columns} columns") from error
    require(tuple(matrix.shape) == (rows, columns), field, values, f"a matrix of {rows} rows and {columns} columns")
    return matrix


def _symmetric(field: str, values: Matrix) -> Tensor:
    matrix = _matrix(field, values, len(values), len(values))
    require(bool(torch.equal(matrix, matrix.T)), field, values, "a symmetric matrix")
    return matrix
