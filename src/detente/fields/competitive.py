"""Competitive gradient descent."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from detente.autodiff import Evaluation, linearization
from detente.errors import require
from detente.fields.base import Field
from detente.fields.local_game import equilibrium, no_steps, require_zero_sum_pair
from detente.game import Batch, Buffers, Game, Vectors
from detente.schedules.base import Schedule, number, require_positive
from detente.state import Tree


@dataclass(frozen=True)
class Competitive(Field):
    """The step to the equilibrium of the local bilinear game, divided by the learning rate.

    w_x = (I + η² D_xy D_yx)⁻¹ (∇_x f + η D_xy ∇_y f),  w_y = −(I + η² D_yx D_xy)⁻¹ (∇_y f − η D_yx ∇_x f)

    for L_x = f = −L_y. Both players anticipate each other's answer, infinitely deep. Use it with plain gradient steps
    at the same rate η, which give Δ = −η w. For η → 0 this is the gradient field. Conjugate gradients solve one
    player's system, starting from the previous step's solution; the opponent's step follows in closed form. The
    players alternate in these two roles.

    Args:
        learning_rate: η, > 0, or a schedule; must equal the rate of the plain steps.
        iterations: maximum number of conjugate-gradient iterations, ≥ 1; each costs two gradients.
        tolerance: tolerance of the residual, relative to the right-hand side, ≥ 0.

    Source: Schäfer & Anandkumar 2019, Competitive Gradient Descent (arXiv:1905.12103), Algorithm 1 and
        theorem 2.2; the authors' code for the alternation and the start of conjugate gradients.
    """

    # Mapping is possible but computes all iterations of both systems: 5 seeds of the ring took 7 times as long.
    traceable: ClassVar[bool] = False
    divided: ClassVar[tuple[str, ...]] = ("start",)

    learning_rate: float | Schedule = 1e-3
    iterations: int = 10
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        require_positive("learning_rate", self.learning_rate)
        require(self.iterations >= 1, "iterations", self.iterations, "an integer ≥ 1")
        require(self.tolerance >= 0, "tolerance", self.tolerance, "a number ≥ 0")

    def check(self, game: Game) -> None:
        """Raise `InvalidValue` unless the game has two players and is zero-sum."""
        require_zero_sum_pair(game)

    def initial(self, game: Game, vectors: Vectors, buffers: Buffers) -> Tree:
        """Return the number of the player whose system is solved next, and zeros as the first starting point."""
        return no_steps(vectors)

    def gradient_evaluations(self, moving: tuple[str, ...], players: tuple[str, ...]) -> int:
        """Return an upper bound: v, the right-hand side, the first residual, the opponent's step, all iterations."""
        return 6 + 2 * self.iterations

    def __call__(
        self, game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, memory: Tree, players: tuple[str, ...]
    ) -> tuple[Evaluation, Tree]:
        """Return w."""
        evaluation, transposed = linearization(game, vectors, buffers, batch)
        gradients = {name: evaluation.field[name] for name in game.players}
        rate = number("learning_rate", self.learning_rate)
        root = rate.sqrt() if isinstance(rate, Tensor) else math.sqrt(rate)
        roots = dict.fromkeys(game.players, root)
        z, memory = equilibrium(gradients, transposed, roots, memory, self.iterations, self.tolerance)
        blocks = {name: z[name] / root for name in players}
        return replace(evaluation, field=blocks, losses=evaluation.losses_of(players)), memory
