"""The largest stable step of plain simultaneous gradient descent, from the eigenvalues."""

from __future__ import annotations

import torch
from torch import Tensor

from detente.diagnostics.base import largest_steps
from detente.errors import require


def step_size_bound(eigenvalues: Tensor, neutral: float = 0.0) -> float:
    """Return the largest h such that x ← x − h v(x) contracts: h < 2 Re λ/|λ|² for every eigenvalue λ of v'(x).

    The condition |1 − hλ| < 1 is exact for linear dynamics, and so for any smooth game close enough to a stationary
    point. It does not apply to optimizers that rescale the field (RMSProp, Adam) or have memory (momentum).

    Args:
        eigenvalues: eigenvalues of v'(x) in descent convention, complex or real, (k,).
        neutral: ignore eigenvalues of at most this modulus, ≥ 0. They belong to directions in which the field is flat,
            such as those of inactive units. The default ignores none.

    Returns:
        The bound, exclusive; 0 if some Re λ ≤ 0 (no step contracts), infinite if no eigenvalue remains.

    Raises:
        InvalidValue: an eigenvalue is not finite, or `neutral` is negative.

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, Lemma 4, eq. 10 (descent sign).
    """
    steps = largest_steps(_without_neutral(eigenvalues, neutral))
    return float(steps.min()) if len(steps) else float("inf")


def limiting_eigenvalue(eigenvalues: Tensor, neutral: float = 0.0) -> complex | None:
    """Return the eigenvalue that determines `step_size_bound`; if some Re λ ≤ 0, the one with the smallest real part.

    Args:
        eigenvalues: as in `step_size_bound`.
        neutral: as in `step_size_bound`.

    Returns:
        The eigenvalue, or None if none remains.
    """
    values = _without_neutral(eigenvalues, neutral)
    if not len(values):
        return None
    unstable = values[values.real <= 0]
    index = unstable.real.argmin() if len(unstable) else largest_steps(values).argmin()
    return complex((unstable if len(unstable) else values)[index])


def _without_neutral(eigenvalues: Tensor, neutral: float) -> Tensor:
    require(neutral >= 0, "neutral", neutral, "a number ≥ 0")
    values = torch.as_tensor(eigenvalues).to(torch.complex128)
    require(bool(values.isfinite().all()), "eigenvalues", "numbers that are not finite", "finite eigenvalues")
    return values if neutral == 0 else values[values.abs() > neutral]
