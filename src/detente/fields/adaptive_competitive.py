"""Adaptive competitive gradient descent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from detente.autodiff import Evaluation, linearization
from detente.errors import require
from detente.fields.base import Field
from detente.fields.local_game import equilibrium, no_steps, require_zero_sum_pair
from detente.game import Batch, Buffers, Game, Vectors
from detente.ranks import all_of_parts, own_part
from detente.schedules.base import Schedule, number, require_positive
from detente.state import Tree


@dataclass(frozen=True)
class AdaptiveCompetitive(Field):
    """Competitive gradient descent with a rate for each parameter, P = η √(1 − βᵗ)/(√s + ε), s ← βs + (1−β)v².

    w_x = (1/η) √P_x A⁻¹ √P_x (∇_x f + D_xy P_y ∇_y f),  A = I + √P_x D_xy P_y D_yx √P_x,  and y's mirror image

    for L_x = f = −L_y with gradients v. Use it with plain gradient steps at the same rate η, which give Δ = −η w. As in
    the authors' code, ε is added before the bias correction, and s includes the gradient of the current step.

    Args:
        learning_rate: η, > 0, or a schedule; must equal the rate of the plain steps. The authors' GANs use 1e-4.
        decay: β, in [0, 1).
        epsilon: ε, > 0.
        iterations: maximum number of conjugate-gradient iterations, ≥ 1; each costs two gradients.
        tolerance: tolerance of the residual, relative to the right-hand side, ≥ 0.

    Source: Schäfer, Zheng & Anandkumar 2020, Implicit Competitive Regularization in GANs (arXiv:1910.05852),
        Algorithm ACGD; the authors' code for ε, β, the alternation and conjugate gradients.
    """

    # Mapping is possible but computes all iterations of both systems: 5 seeds of the ring took 7 times as long.
    traceable: ClassVar[bool] = False
    divided: ClassVar[tuple[str, ...]] = ("square", "local/start")

    learning_rate: float | Schedule = 1e-4
    decay: float = 0.99
    epsilon: float = 1e-5
    iterations: int = 10
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        require_positive("learning_rate", self.learning_rate)
        require(0 <= self.decay < 1, "decay", self.decay, "a number in [0, 1)")
        require(self.epsilon > 0, "epsilon", self.epsilon, "a number > 0")
        require(self.iterations >= 1, "iterations", self.iterations, "an integer ≥ 1")
        require(self.tolerance >= 0, "tolerance", self.tolerance, "a number ≥ 0")

    def check(self, game: Game) -> None:
        """Raise `InvalidValue` unless the game has two players and is zero-sum."""
        require_zero_sum_pair(game)

    def initial(self, game: Game, vectors: Vectors, buffers: Buffers) -> Tree:
        """Return zero second moments, (n_i,), the number of calls, (), and the memory of the local game's solver."""
        local = no_steps(vectors)
        square = {name: torch.zeros_like(vector) for name, vector in vectors.items()}
        return {"count": torch.zeros_like(local["turn"]), "square": square, "local": local}

    def gradient_evaluations(self, moving: tuple[str, ...], players: tuple[str, ...]) -> int:
        """Return an upper bound: v, the right-hand side, the first residual, the opponent's step, all iterations."""
        return 6 + 2 * self.iterations

    def __call__(
        self, game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, memory: Tree, players: tuple[str, ...]
    ) -> tuple[Evaluation, Tree]:
        """Return w."""
        evaluation, transposed = linearization(game, vectors, buffers, batch)
        gradients = {name: evaluation.field[name] for name in game.players}
        count = memory["count"] + 1
        rate = (
            number("learning_rate", self.learning_rate) * (1 - self.decay ** count.double()).sqrt()
        )  # float64, like Adam's corrections
        parts = {name: own_part(v) for name, v in gradients.items()}
        square = {name: torch.lerp(memory["square"][name], v * v, 1 - self.decay) for name, v in parts.items()}
        roots = {name: (rate.to(s.dtype) / (s.sqrt() + self.epsilon)).sqrt() for name, s in square.items()}
        roots = all_of_parts(roots, gradients)
        z, local = equilibrium(gradients, transposed, roots, memory["local"], self.iterations, self.tolerance)
        blocks = {name: roots[name] * z[name] / number("learning_rate", self.learning_rate) for name in players}
        evaluation = replace(evaluation, field=blocks, losses=evaluation.losses_of(players))
        return evaluation, {"count": count, "square": square, "local": local}
