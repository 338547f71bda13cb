"""The share of rotation in the field around a point."""

from __future__ import annotations

import torch
from torch import Tensor

from detente.autodiff import vector_field
from detente.errors import require
from detente.game import Batch, Game, Vectors
from detente.state import State


def imaginary_share(eigenvalues: Tensor) -> Tensor:
    """Return |Im λ|/|λ| for each eigenvalue, (k,), in [0, 1]: 0 is no rotation, 1 pure rotation; 0 for λ = 0.

    The paper's |Im λ|/|Re λ| = q is s/√(1−s²), where s is this share.

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, section 3, below eq. 10.
    """
    modulus = eigenvalues.abs()
    return torch.where(modulus > 0, eigenvalues.imag.abs() / modulus.clamp_min(torch.finfo(modulus.dtype).tiny), 0.0)


def hamiltonian_share(jacobian: Tensor) -> float:
    """Return ‖A‖²/‖J‖² (Frobenius) for the rotating part A = (J − Jᵀ)/2, in [0, 1]; 0 for J = 0.

    The value is 0 for a potential game, in which gradient descent only descends, and 1 for a Hamiltonian game, in which
    it only rotates.

    Args:
        jacobian: J = v'(x), (n, n).

    Source: Balduzzi et al. 2018, The Mechanics of n-Player Differentiable Games (arXiv:1802.05642), section 3.
    """
    require(jacobian.dim() == 2 and len(jacobian) == len(jacobian.T), "jacobian", tuple(jacobian.shape), "(n, n)")
    total = jacobian.square().sum()
    rotating = ((jacobian - jacobian.T) / 2).square().sum()
    return float(rotating / total) if total > 0 else 0.0


def cosine_to(game: Game, state: State, batch: Batch, target: Vectors) -> float:
    """Return the cosine of the angle between −v(x) and x* − x: 1 is towards the target, 0 around it, −1 away from it.

    Args:
        game: the game.
        state: x; it does not change.
        batch: the batch that defines v.
        target: x*, by player, (n_i,), for example `game.solution` or the result of training.

    Returns:
        The cosine; NaN at the target and if v = 0.

    Source: Berard et al. 2019 (arXiv:1906.04848), section 4.
    """
    v = vector_field(game, state.vectors, state.buffers, batch).field
    towards_target = torch.cat([(target[name].to(x) - x).double() for name, x in state.vectors.items()])
    move = torch.cat([-v[name].double() for name in state.vectors])
    return float((towards_target @ move) / (towards_target.norm() * move.norm()))
