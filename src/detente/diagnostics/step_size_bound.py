"""The largest stable step of plain simultaneous gradient, from the eigenvalues."""

from __future__ import annotations

import torch
from torch import Tensor

from detente.diagnostics.base import largest_steps
from detente.errors import require


def step_size_bound(eigenvalues: Tensor, neutral: float = 0.0) -> float:
    """Return the largest h such that x ← x − h v(x) contracts: h < 2 Re λ/|λ|² for every eigenvalue λ of v'(x).

    It is the exact condition |1 − hλ| < 1 of linear dynamics, so of any smooth game close enough to a stationary
    point. It says nothing about optimizers that rescale the field (RMSProp, Adam) or remember it (momentum).

    Args:
        eigenvalues: of v'(x) in descent convention, complex or real, (k,).
        neutral: eigenvalues of at most this modulus are left out, ≥ 0: directions in which the field is flat, such as
            those of units that never fire. The default leaves none out.

    Returns:
        The bound, exclusive; 0 if some Re λ ≤ 0 (no step contracts), infinite if no eigenvalue is left.

    Raises:
        InvalidValue: an eigenvalue that is not finite, or a negative `neutral`.

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, Lemma 4, eq. 10 (descent sign).
    """
    steps = largest_steps(_counted(eigenvalues, neutral))
    return float(steps.min()) if len(steps) else float("inf")


def limiting_eigenvalue(eigenvalues: Tensor, neutral: float = 0.0) -> complex | None:
    """Return the eigenvalue that sets `step_size_bound`; of several with Re λ ≤ 0 the one of smallest real part.

    Args:
        eigenvalues: as for `step_size_bound`.
        neutral: as for `step_size_bound`.

    Returns:
        The eigenvalue, or None if none is left.
    """
    counted = _counted(eigenvalues, neutral)
    if not len(counted):
        return None
    unstable = counted[counted.real <= 0]
    index = unstable.real.argmin() if len(unstable) else largest_steps(counted).argmin()
    return complex((unstable if len(unstable) else counted)[index])


def _counted(eigenvalues: Tensor, neutral: float) -> Tensor:
    require(neutral >= 0, "neutral", neutral, "a number ≥ 0")
    values = torch.as_tensor(eigenvalues).to(torch.complex128)
    require(bool(values.isfinite().all()), "eigenvalues", "numbers that are not finite", "finite eigenvalues")
    return values if neutral == 0 else values[values.abs() > neutral]
