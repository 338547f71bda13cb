"""Conjugate gradients: SciPy's iterates, the solution, and the same mapped as in a loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import linalg
from torch import Tensor

from detente.autodiff.conjugate_gradient import conjugate_gradient


def system(seed: int, n: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Return a positive definite matrix, a right-hand side and a beginning."""
    random = torch.Generator().manual_seed(seed)
    factor, right, start = (torch.randn(*shape, generator=random).double() for shape in ((n, n), (n,), (n,)))
    return factor @ factor.T + torch.eye(n), right, start


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("iterations", [1, 3])
def test_iterates_are_scipys(iterations: int, begun: bool) -> None:
    matrix, right, start = system(0)
    found = conjugate_gradient(lambda u: matrix @ u, right, start if begun else None, iterations, 0.0)
    x0 = start.numpy() if begun else None
    expected, _ = linalg.cg(matrix.numpy(), right.numpy(), x0, rtol=0.0, maxiter=iterations)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)


def test_stops_at_the_tolerance() -> None:
    matrix, right, start = system(1)
    calls = []

    def operator(u: Tensor) -> Tensor:
        calls.append(u)
        return matrix @ u

    found = conjugate_gradient(operator, right, start, 100, 1e-3)
    assert (right - matrix @ found).norm() <= 1e-3 * right.norm()
    assert 1 < len(calls) < 10
    again = conjugate_gradient(operator, right, found, 100, 1.1e-3)
    torch.testing.assert_close(again, found, rtol=0, atol=0)  # a solution to begin with is left as it is


def test_nothing_to_solve_is_zero() -> None:
    matrix, right, _ = system(2)
    zero = torch.zeros_like(right)
    torch.testing.assert_close(conjugate_gradient(lambda u: matrix @ u, zero, None, 5, 0.0), zero, rtol=0, atol=0)
    torch.testing.assert_close(conjugate_gradient(lambda u: 0 * u, right, None, 5, 0.0), zero, rtol=0, atol=0)


def test_mapped_is_the_loop_though_some_stop_earlier() -> None:
    systems = [system(seed) for seed in range(4)]
    systems[1] = (torch.eye(8).double(), *systems[1][1:])  # solved in one iteration

    def solved(matrix: Tensor, right: Tensor, start: Tensor) -> Tensor:
        return conjugate_gradient(lambda u: matrix @ u, right, start, 30, 1e-8)

    mapped = torch.func.vmap(solved)(*map(torch.stack, zip(*systems, strict=True)))
    torch.testing.assert_close(mapped, torch.stack([solved(*one) for one in systems]), rtol=1e-10, atol=1e-12)
