"""The conjugate gradient method, for linear systems given by matrix-vector products."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from detente.autodiff.tracing import is_eager


def conjugate_gradient(
    operator: Callable[[Tensor], Tensor], right: Tensor, start: Tensor | None, iterations: int, tolerance: float
) -> Tensor:
    """Return u with A u ≈ b for a symmetric positive definite A; stop when ‖b − Au‖ ≤ tolerance · ‖b‖.

    If tensors are mapped or traced, all iterations run, and those after convergence change nothing.

    Args:
        operator: u ↦ A u, (n,) to (n,).
        right: b, (n,).
        start: initial u, (n,); its residual b − A · start costs one more product. None: zero.
        iterations: maximum number of iterations, with one product with A each.
        tolerance: tolerance relative to ‖b‖, ≥ 0.

    Source: Hestenes & Stiefel 1952, Methods of Conjugate Gradients for Solving Linear Systems, section 3.
    """
    solution, residual = (torch.zeros_like(right), right) if start is None else (start, right - operator(start))
    direction, square, bound = residual, residual @ residual, tolerance**2 * (right @ right)
    for _ in range(iterations):
        active = square > bound
        if is_eager(active) and not active:
            break
        image = operator(direction)
        curvature = direction @ image
        active = active & (curvature > 0)  # rounding, or a matrix that is not positive definite
        length = torch.where(active, square / torch.where(active, curvature, 1), 0)
        solution, residual = solution + length * direction, residual - length * image
        previous_square, square = square, residual @ residual
        direction = residual + torch.where(active, square / torch.where(active, previous_square, 1), 0) * direction
    return solution
