"""How much of the field turns around a point instead of leading to it."""

from __future__ import annotations

import torch
from torch import Tensor

from detente.autodiff import vector_field
from detente.errors import require
from detente.game import Batch, Game, Vectors
from detente.state import State


def imaginary_share(eigenvalues: Tensor) -> Tensor:
    """Return |Im λ|/|λ| for each eigenvalue, (k,), in [0, 1]: 0 goes straight, 1 circles for ever; 0 for λ = 0.

    The paper's |Im λ|/|Re λ| = q is s/√(1−s²), where s is this share.

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, section 3, below eq. 10.
    """
    modulus = eigenvalues.abs()
    return torch.where(modulus > 0, eigenvalues.imag.abs() / modulus.clamp_min(torch.finfo(modulus.dtype).tiny), 0.0)


def hamiltonian_share(jacobian: Tensor) -> float:
    """Return ‖A‖²/‖J‖² (Frobenius) of the rotating part A = (J − Jᵀ)/2, in [0, 1]; 0 for J = 0.

    0 is a potential game, in which gradient descent only descends; 1 a Hamiltonian one, in which it only turns.

    Args:
        jacobian: J = v'(x), (n, n).

    Source: Balduzzi et al. 2018, The Mechanics of n-Player Differentiable Games (arXiv:1802.05642), section 3.
    """
    require(jacobian.dim() == 2 and len(jacobian) == len(jacobian.T), "jacobian", tuple(jacobian.shape), "(n, n)")
    whole = jacobian.square().sum()
    turning = ((jacobian - jacobian.T) / 2).square().sum()
    return float(turning / whole) if whole > 0 else 0.0


def cosine_to(game: Game, state: State, batch: Batch, target: Vectors) -> float:
    """Return the cosine of the angle between −v(x) and x* − x: 1 heads for the target, 0 circles it, −1 flees.

    Args:
        game: the game.
        state: x; it is not changed.
        batch: one batch.
        target: x*, each player's (n_i,), for instance `game.solution` or the end of a training.

    Returns:
        The cosine; NaN at the target and where v = 0.

    Source: Berard et al. 2019 (arXiv:1906.04848), section 4.
    """
    v = vector_field(game, state.vectors, state.buffers, batch).field
    ahead = torch.cat([(target[name].to(x) - x).double() for name, x in state.vectors.items()])
    move = torch.cat([-v[name].double() for name in state.vectors])
    return float((ahead @ move) / (ahead.norm() * move.norm()))
