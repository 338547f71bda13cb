"""The bound of Lemma 4 against simulated iterations, and Lemmas 7 and 9 on random games."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from detente.diagnostics.jacobian_spectrum import jacobian_spectrum
from detente.diagnostics.step_size_bound import limiting_eigenvalue, step_size_bound
from detente.errors import InvalidValue
from detente.games.quadratic import Quadratic
from detente.methods import consensus, simultaneous
from detente.state import State

SEEDS = st.integers(0, 2**31)


def damped(seed: int, damping: float) -> tuple[Quadratic, Tensor]:
    """A zero-sum game with positive definite own parts (`damping` at least), and its matrix v'."""
    generator = torch.Generator().manual_seed(seed)
    a, b, c = (torch.randn(3, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    a, c = (part @ part.T * 0.1 + damping * torch.eye(3).double() for part in (a, c))
    a, c = (a + a.T) / 2, (c + c.T) / 2
    return Quadratic(a, b, c), torch.cat([torch.cat([a, b], 1), torch.cat([-b.T, c], 1)])


def state_of(game: Quadratic) -> State:
    vectors, buffers = game.initial(torch.Generator().manual_seed(0))
    return State(torch.zeros((), dtype=torch.int64), vectors, buffers)


def spectral_radius(matrix: Tensor) -> float:
    return float(torch.linalg.eigvals(matrix).abs().max())


def test_closed_forms() -> None:
    assert step_size_bound(torch.tensor([2.0, 0.5])) == pytest.approx(1.0)  # 2/λ of the largest
    assert step_size_bound(torch.tensor([1 + 3j, 1 - 3j, 2 + 0j])) == pytest.approx(0.2)  # 2·1/(1+9)
    assert limiting_eigenvalue(torch.tensor([1 + 3j, 2 + 0j])) == 1 + 3j


def test_no_step_contracts_where_a_real_part_is_not_positive() -> None:
    for values in ([1j, -1j], [1.0, 0.0], [1.0, -0.1]):
        assert step_size_bound(torch.tensor(values)) == 0
    assert limiting_eigenvalue(torch.tensor([1.0, -0.1, -0.5])) == -0.5


def test_flat_directions_can_be_left_out() -> None:
    values = torch.tensor([2.0, 1e-9, -1e-9])
    assert step_size_bound(values) == 0
    assert step_size_bound(values, neutral=1e-6) == pytest.approx(1.0)
    assert step_size_bound(torch.zeros(2), neutral=1e-6) == math.inf
    assert limiting_eigenvalue(torch.zeros(2), neutral=1e-6) is None
    assert step_size_bound(torch.zeros(0)) == math.inf


def test_arguments_are_checked() -> None:
    with pytest.raises(InvalidValue, match="finite"):
        step_size_bound(torch.tensor([math.nan]))
    with pytest.raises(InvalidValue, match="neutral"):
        step_size_bound(torch.ones(1), neutral=-1)


@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_training_contracts_below_the_bound_and_diverges_above(factor: float) -> None:
    """By the steps of the library itself, on a game with about equal rotation and attraction."""
    game = Quadratic([[1.0, 0.0], [0.0, 0.7]], [[1.0, 0.0], [0.0, 0.3]], [[0.8, 0.0], [0.0, 0.6]])
    spectrum = jacobian_spectrum(game, state_of(game), {})
    rate = factor * step_size_bound(spectrum.eigenvalues)
    method = simultaneous("sgd", rate)
    state = method.initial(game, torch.Generator().manual_seed(0))
    norms = []
    for _ in range(1500):
        state, _ = method.step(game, state, ({},))
        norms.append(float(torch.cat(list(state.vectors.values())).norm()))
    assert (norms[-1] < 1e-3 * norms[0]) if factor < 1 else (norms[-1] > 1e3 * norms[0])


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.floats(0.01, 1.0))
def test_bound_is_where_the_spectral_radius_passes_one(seed: int, damping: float) -> None:
    """Lemma 4, on I − hv'."""
    game, matrix = damped(seed, damping)
    bound = step_size_bound(jacobian_spectrum(game, state_of(game), {}).eigenvalues)
    unit = torch.eye(6).double()
    assert 0 < bound < math.inf
    assert spectral_radius(unit - 0.99 * bound * matrix) < 1 < spectral_radius(unit - 1.01 * bound * matrix)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.floats(0.01, 5.0))
def test_consensus_contracts_on_purely_rotating_games(seed: int, strength: float) -> None:
    """Lemma 7: v' positive semi-definite and invertible makes w' positive definite, so small enough steps contract."""
    generator = torch.Generator().manual_seed(seed)
    b = torch.randn(3, 3, generator=generator, dtype=torch.float64) + 3 * torch.eye(3).double()
    game = Quadratic(torch.zeros(3, 3), b, torch.zeros(3, 3))
    spectrum = jacobian_spectrum(game, state_of(game), {}, consensus(strength=strength))
    assert spectrum.regularised is not None
    assert float(spectrum.regularised.real.min()) > 0
    bound = step_size_bound(spectrum.regularised)
    assert bound > 0
    assert float((1 - 0.99 * bound * spectrum.regularised).abs().max()) < 1
    assert float((1 - 1.01 * bound * spectrum.regularised).abs().max()) > 1


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.floats(0.0, 1.0), st.floats(0.0, 5.0))
def test_consensus_bounds_rotation(seed: int, damping: float, strength: float) -> None:
    """Lemma 9 as corrected: q ≤ 1/(c + 2ρ²γ/‖A−Aᵀ‖₂), c bounded below by σ_min(A+Aᵀ)/‖A−Aᵀ‖₂."""
    game, matrix = damped(seed, damping)
    values = jacobian_spectrum(game, state_of(game), {}, consensus(strength=strength)).regularised
    assert values is not None
    turning = float(torch.linalg.matrix_norm(matrix - matrix.T, 2))
    least = float(torch.linalg.svdvals(matrix).min())
    c = float(torch.linalg.eigvalsh(matrix + matrix.T).min()) / turning
    quotient = float((values.imag.abs() / values.real.abs()).max())
    assert quotient <= (1 + 1e-9) / (c + 2 * least**2 * strength / turning)
