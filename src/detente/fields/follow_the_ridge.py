"""Follow the ridge."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from detente.autodiff import Evaluation, linearization, vector_field
from detente.autodiff.conjugate_gradient import conjugate_gradient
from detente.errors import require
from detente.fields.base import Field
from detente.fields.local_game import require_zero_sum_pair
from detente.game import Batch, Buffers, Game, Vectors
from detente.ranks import all_of_parts, own_part
from detente.schedules.base import Schedule, number, require_at_least_zero, require_positive
from detente.state import Tree


@dataclass(frozen=True)
class FollowTheRidge(Field):
    """The gradient field plus a correction that keeps the follower on the ridge ∇_y f = 0 when the leader moves.

    w_x = ∇_x f,  w_y = −∇_y f − (η_x/η_y) H_yy⁻¹ H_yx ∇_x f,  for L_x = f = −L_y, x the leader and H = ∇²f,

    so that plain gradient steps give y⁺ = y + η_y ∇_y f + η_x H_yy⁻¹ H_yx ∇_x f. As in the authors' code, conjugate
    gradients solve (H_yy² + d I) s = H_yy h for s ≈ H_yy⁻¹ h, since H_yy is not definite far from a solution. The
    authors' d adapts between 0 and its initial value; here d is constant. With d = 0, only local minimax points
    attract. With `decay`, both gradients are first divided by √ŝ + ε, with s ← βs + (1−β)v² and its bias corrected.
    The preconditioner is part of the field because an optimizer's preconditioner would also distort the correction;
    use plain gradient steps.

    Args:
        ratio: η_x/η_y of the plain steps, > 0, or a schedule.
        damping: d, ≥ 0, or a schedule, in units of H_yy²; 0 is exact if H_yy can be inverted.
        iterations: maximum number of conjugate-gradient iterations, ≥ 1; each costs two gradients.
        tolerance: tolerance of the residual, relative to the right-hand side, ≥ 0.
        leader: the player that moves first in the sequential game. Default: the first player, in a GAN the generator.
        decay: β of the preconditioner, in [0, 1) (the authors' GANs: 0.999), or None for no preconditioner.
        epsilon: ε of the preconditioner, > 0.

    Source: Wang, Zhang & Ba 2020, On Solving Minimax Optimization Locally: A Follow-the-Ridge Approach
        (arXiv:1910.07512), Algorithm 1; the authors' code for the damping and the preconditioner.
    """

    divided: ClassVar[tuple[str, ...]] = ("square",)

    ratio: float | Schedule = 1.0
    damping: float | Schedule = 1.0
    iterations: int = 5
    tolerance: float = 1e-6
    leader: str | None = None
    decay: float | None = None
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        require_positive("ratio", self.ratio)
        require_at_least_zero(self, "damping")
        require(self.iterations >= 1, "iterations", self.iterations, "an integer ≥ 1")
        require(self.tolerance >= 0, "tolerance", self.tolerance, "a number ≥ 0")
        require(self.decay is None or 0 <= self.decay < 1, "decay", self.decay, "a number in [0, 1), or None")
        require(self.epsilon > 0, "epsilon", self.epsilon, "a number > 0")

    def check(self, game: Game) -> None:
        """Raise `InvalidValue` unless the game is zero-sum with two players, and `leader` is one of them."""
        require_zero_sum_pair(game)
        valid = self.leader is None or self.leader in game.players
        require(valid, "leader", self.leader, f"one of {', '.join(game.players)}")

    def _roles(self, players: tuple[str, ...]) -> tuple[str, str]:
        """Return the leader and the follower."""
        leader = self.leader or players[0]
        (follower,) = (name for name in players if name != leader)
        return leader, follower

    def initial(self, game: Game, vectors: Vectors, buffers: Buffers) -> Tree:
        """Return the preconditioner's zero second moments, (n_i,), and numbers of calls, (); empty without one."""
        if self.decay is None:
            return {}
        counts = {n: torch.zeros((), dtype=torch.int64, device=vector.device) for n, vector in vectors.items()}
        return {"count": counts, "square": {name: torch.zeros_like(vector) for name, vector in vectors.items()}}

    def gradient_evaluations(self, moving: tuple[str, ...], players: tuple[str, ...]) -> int:
        """Return an upper bound: v, the right-hand side in two products, all iterations; 1 for the leader only."""
        return 1 if moving == (self._roles(players)[0],) else 4 + 2 * self.iterations

    def __call__(
        self, game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, memory: Tree, players: tuple[str, ...]
    ) -> tuple[Evaluation, Tree]:
        """Return w."""
        leader, follower = self._roles(game.players)
        if follower not in players:
            evaluation = vector_field(game, vectors, buffers, batch, players, parts=True)
            blocks, memory = self._preconditioned(evaluation.field, memory, players)
            return replace(evaluation, field=blocks), memory
        evaluation, transposed = linearization(game, vectors, buffers, batch)
        if self.decay is None:
            blocks = dict(evaluation.field)
        else:
            parts = {name: own_part(gradient) for name, gradient in evaluation.field.items()}
            blocks, memory = self._preconditioned(parts, memory, players)
            blocks = all_of_parts(blocks, vectors)

        def curvature(u: Tensor) -> Tensor:
            return transposed({follower: u}, (follower,))[follower]  # J_yy = −H_yy is symmetric

        # J_yx = −(J_xy)ᵀ in a zero-sum game, and H_yy⁻¹ H_yx = J_yy⁻¹ J_yx.
        slope = curvature(-transposed({leader: blocks[leader]}, (follower,))[follower])
        ridge = conjugate_gradient(
            lambda u: curvature(curvature(u)) + number("damping", self.damping) * u,
            slope,
            None,
            self.iterations,
            self.tolerance,
        )
        blocks[follower] = blocks[follower] - number("ratio", self.ratio) * ridge
        evaluation = replace(evaluation, field={n: blocks[n] for n in players}, losses=evaluation.losses_of(players))
        return evaluation, memory

    def _preconditioned(self, gradients: Vectors, memory: Tree, players: tuple[str, ...]) -> tuple[Vectors, Tree]:
        """Return the gradients divided by their root mean squares, and the memory updated for moving players."""
        if self.decay is None:
            return dict(gradients), memory
        counts, squares, blocks = dict(memory["count"]), dict(memory["square"]), {}
        for name, gradient in gradients.items():
            count = memory["count"][name] + 1
            square = torch.lerp(memory["square"][name], gradient * gradient, 1 - self.decay)
            corrected = square / (1 - self.decay ** count.double()).to(square.dtype)
            blocks[name] = gradient / (corrected.sqrt() + self.epsilon)
            if name in players:
                counts[name], squares[name] = count, square
        return blocks, {"count": counts, "square": squares}
