"""The bilinear game around a point whose equilibrium is a competitive step."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from detente.autodiff.conjugate_gradient import conjugate_gradient
from detente.autodiff.tracing import is_eager
from detente.errors import require
from detente.game import Game, Vectors
from detente.state import Tree


def require_zero_sum_pair(game: Game) -> None:
    """Raise `InvalidValue` where there are not two players, one of whom loses what the other wins."""
    name = type(game).__name__
    require(len(game.players) == 2, "game", f"{name} of {len(game.players)} players", "a game of two players")
    allowed = "a zero-sum game: for a GAN, an objective like `minimax` or `wasserstein` and no penalties"
    require(game.zero_sum, "game", f"{name} that is not zero-sum", allowed)


def no_steps(vectors: Vectors) -> Tree:
    """Return the memory of `equilibrium` before its first call."""
    turn = torch.zeros((), dtype=torch.int64, device=next(iter(vectors.values())).device)
    return {"turn": turn, "start": {name: torch.zeros_like(vector) for name, vector in vectors.items()}}


def equilibrium(
    gradients: Vectors,
    transposed: Callable[[Vectors, tuple[str, ...]], Vectors],
    roots: Mapping[str, Tensor | float],
    memory: Tree,
    iterations: int,
    tolerance: float,
) -> tuple[Vectors, Tree]:
    """Return z with Δx = −√P_x z_x, Δy = −√P_y z_y, the equilibrium of the local game with rates P.

    Δx minimises Δxᵀ∇_x f + Δxᵀ D_xy Δy + ½ Δxᵀ P_x⁻¹ Δx, Δy maximises Δyᵀ∇_y f + Δxᵀ D_xy Δy − ½ Δyᵀ P_y⁻¹ Δy. So
    z_x + N z_y = √P_x ∇_x f and z_y − Nᵀ z_x = −√P_y ∇_y f with N = √P_x D_xy √P_y. One player's z solves
    (I + N Nᵀ) z_x = √P_x ∇_x f + N √P_y ∇_y f (or its mirror image) by conjugate gradients that begin at the last z;
    the other's follows. Players take turns in this. Mapped or traced, both are solved and one is taken.

    Args:
        gradients: v = (∇_x f, −∇_y f), each player's (n_i,).
        transposed: (u, wanted) ↦ Jᵀu, with J = v'.
        roots: √P, by player: a number, or one for each parameter, (n_i,).
        memory: as `no_steps` or the last call returned it.
        iterations: of conjugate gradients, at most.
        tolerance: of conjugate gradients, relative.
    """
    pulls = {name: roots[name] * gradient for name, gradient in gradients.items()}

    def across(z: Tensor, source: str, target: str) -> Tensor:
        """Return N z_y for the target x, −Nᵀ z_x for the target y."""
        # Off its diagonal J = [[·, D_xy], [−D_yx, ·]] is antisymmetric, so a product with it is one with −Jᵀ.
        return -roots[target] * transposed({source: roots[source] * z}, (target,))[target]

    def solved_for(name: str, opponent: str) -> Vectors:
        z = conjugate_gradient(
            lambda u: u - across(across(u, name, opponent), opponent, name),
            pulls[name] - across(pulls[opponent], opponent, name),
            memory["start"][name],
            iterations,
            tolerance,
        )
        return {name: z, opponent: pulls[opponent] - across(z, name, opponent)}

    first, second = gradients
    turn = memory["turn"]
    if is_eager(turn, *gradients.values()):
        solution = solved_for(second, first) if turn else solved_for(first, second)
    else:
        direct, mirrored = solved_for(first, second), solved_for(second, first)
        solution = {name: torch.where(turn.bool(), mirrored[name], direct[name]) for name in gradients}
    return solution, {"turn": 1 - turn, "start": {name: solution[name] for name in memory["start"]}}
