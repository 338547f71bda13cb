"""The local bilinear game around a point; its equilibrium is the competitive step."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from detente.autodiff.conjugate_gradient import conjugate_gradient
from detente.autodiff.tracing import is_eager
from detente.errors import require
from detente.game import Game, Vectors, require_two_players
from detente.ranks import of_parts, own_parts
from detente.state import Tree


def require_zero_sum_pair(game: Game) -> None:
    """Raise `InvalidValue` unless the game is zero-sum with two players."""
    require_two_players(game)
    name = type(game).__name__
    allowed = "a zero-sum game: for a GAN, an objective like `minimax` or `wasserstein` and no penalties"
    hint = "If its losses sum to zero, say so: Networks(…, zero_sum=True)" if name == "Networks" else ""
    require(game.zero_sum, "game", f"{name} that is not zero-sum", allowed, hint)


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
    (I + N Nᵀ) z_x = √P_x ∇_x f + N √P_y ∇_y f (or its mirror image) by conjugate gradients that start from the
    previous z; the opponent's z follows. The players alternate in these two roles. Under vmap or tracing, both systems
    are solved and one solution is selected.

    Args:
        gradients: v = (∇_x f, −∇_y f), by player, (n_i,).
        transposed: (u, players) ↦ the blocks of `players` of Jᵀu, with J = v'.
        roots: √P, by player: a number, or one per parameter, (n_i,).
        memory: the memory returned by `no_steps` or by the previous call.
        iterations: maximum number of conjugate-gradient iterations.
        tolerance: relative tolerance of conjugate gradients.

    Returns:
        z by player, (n_i,), and the new memory.
    """
    pulls = {name: roots[name] * gradient for name, gradient in gradients.items()}

    def across(z: Tensor, source: str, target: str) -> Tensor:
        """Return N z_y for the target x, −Nᵀ z_x for the target y."""
        # Off its diagonal J = [[·, D_xy], [−D_yx, ·]] is antisymmetric, so a product with it is one with −Jᵀ.
        return -roots[target] * transposed({source: roots[source] * z}, (target,))[target]

    def solve_for(name: str, opponent: str) -> Vectors:
        z = conjugate_gradient(
            lambda u: u - across(across(u, name, opponent), opponent, name),
            pulls[name] - across(pulls[opponent], opponent, name),
            of_parts(memory["start"][name], len(pulls[name])),
            iterations,
            tolerance,
        )
        return {name: z, opponent: pulls[opponent] - across(z, name, opponent)}

    first, second = gradients
    turn = memory["turn"]
    if is_eager(turn, *gradients.values()):
        solution = solve_for(second, first) if turn else solve_for(first, second)
    else:
        direct, mirrored = solve_for(first, second), solve_for(second, first)
        solution = {name: torch.where(turn.bool(), mirrored[name], direct[name]) for name in gradients}
    start = own_parts({name: solution[name] for name in memory["start"]}, gradients)
    return solution, {"turn": 1 - turn, "start": start}
