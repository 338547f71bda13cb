"""Conjugate gradients: iterates equal SciPy's, and vmap equals a loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import linalg
from torch import Tensor

from detente.autodiff.conjugate_gradient import conjugate_gradient


def system(seed: int, n: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Return a positive definite matrix, a right-hand side and a starting point."""
    random = torch.Generator().manual_seed(seed)
    factor, rhs, start = (torch.randn(*shape, generator=random).double() for shape in ((n, n), (n,), (n,)))
    return factor @ factor.T + torch.eye(n), rhs, start


@pytest.mark.parametrize("with_start", [True, False])
@pytest.mark.parametrize("iterations", [1, 3])
def test_iterates_equal_scipy(iterations: int, with_start: bool) -> None:
    matrix, rhs, start = system(0)
    solution = conjugate_gradient(lambda u: matrix @ u, rhs, start if with_start else None, iterations, 0.0)
    x0 = start.numpy() if with_start else None
    expected, _ = linalg.cg(matrix.numpy(), rhs.numpy(), x0, rtol=0.0, maxiter=iterations)
    np.testing.assert_allclose(solution.numpy(), expected, rtol=1e-10)


def test_stops_at_the_tolerance() -> None:
    matrix, rhs, start = system(1)
    calls = []

    def operator(u: Tensor) -> Tensor:
        calls.append(u)
        return matrix @ u

    solution = conjugate_gradient(operator, rhs, start, 100, 1e-3)
    assert (rhs - matrix @ solution).norm() <= 1e-3 * rhs.norm()
    assert 1 < len(calls) < 10
    again = conjugate_gradient(operator, rhs, solution, 100, 1.1e-3)
    torch.testing.assert_close(again, solution, rtol=0, atol=0)  # a solution to begin with is left as it is


def test_a_zero_right_hand_side_gives_zero() -> None:
    matrix, rhs, _ = system(2)
    zero = torch.zeros_like(rhs)
    torch.testing.assert_close(conjugate_gradient(lambda u: matrix @ u, zero, None, 5, 0.0), zero, rtol=0, atol=0)
    torch.testing.assert_close(conjugate_gradient(lambda u: 0 * u, rhs, None, 5, 0.0), zero, rtol=0, atol=0)


def test_vmap_equals_the_loop_when_some_systems_converge_earlier() -> None:
    systems = [system(seed) for seed in range(4)]
    systems[1] = (torch.eye(8).double(), *systems[1][1:])  # solved in one iteration

    def solved(matrix: Tensor, rhs: Tensor, start: Tensor) -> Tensor:
        return conjugate_gradient(lambda u: matrix @ u, rhs, start, 30, 1e-8)

    mapped = torch.func.vmap(solved)(*map(torch.stack, zip(*systems, strict=True)))
    torch.testing.assert_close(
        mapped, torch.stack([solved(*arguments) for arguments in systems]), rtol=1e-10, atol=1e-12
    )
