"""The spectrum: closed forms, finite differences, ARPACK against the dense matrix, and unchanged states."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from detente.autodiff import jacobian, jacobian_vector, transposed_jacobian, vector_field
from detente.diagnostics.jacobian_spectrum import ORDERS, jacobian_spectrum, leading_eigenvalues
from detente.errors import InvalidValue
from detente.fields.gradient import Gradient
from detente.fields.smoothing import Smoothing
from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.games.dirac_gan import DiracGAN
from detente.games.presets.points import ring
from detente.games.quadratic import Bilinear, Quadratic
from detente.methods import consensus, simultaneous
from detente.methods.method import Method
from detente.networks.mlp import MLP
from detente.objectives.minimax import Minimax
from detente.optimizers.sgd import SGD
from detente.penalties.r1 import R1
from detente.schemes.simultaneous import Simultaneous
from detente.state import State


def start(game: Game, seed: int = 0) -> tuple[State, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    vectors, buffers = game.initial(generator)
    return State(torch.zeros((), dtype=torch.int64), vectors, buffers), game.draw(generator)


def smooth() -> tuple[Game, State, dict[str, Tensor]]:
    """A small GAN with smooth activations, in float64."""
    generator, discriminator = MLP(3, 2, 5, 1, "tanh"), MLP(2, 1, 6, 2, "tanh")
    for index, network in enumerate((generator, discriminator)):
        network.reset_parameters(torch.Generator().manual_seed(index))
    data = torch.randn(50, 2, generator=torch.Generator().manual_seed(2))
    game = Adversarial(generator.double(), discriminator.double(), data, latent=3, batch=12)
    state, batch = start(game)
    return game, state, {name: tensor.double() for name, tensor in batch.items()}


def sorted_values(values: Tensor) -> np.ndarray:
    return np.sort_complex(values.numpy().round(9))


def test_bilinear_game_has_purely_imaginary_eigenvalues() -> None:
    game = Bilinear(dimension=3, scale=1.7)
    eigenvalues = jacobian_spectrum(game, *start(game)).eigenvalues
    assert eigenvalues.dtype == torch.complex128
    np.testing.assert_allclose(sorted_values(eigenvalues), sorted_values(torch.tensor([1.7j, -1.7j] * 3)), atol=1e-7)


def test_quadratic_game_without_coupling_has_the_eigenvalues_of_its_blocks() -> None:
    game = Quadratic([[2.0, 1.0], [1.0, 2.0]], [[0.0], [0.0]], [[-0.5]])
    spectrum = jacobian_spectrum(game, *start(game))
    np.testing.assert_allclose(sorted_values(spectrum.eigenvalues), [-0.5, 1.0, 3.0], atol=1e-9)
    assert spectrum.size == 3 and spectrum.regularised is None


def test_quadratic_game_has_the_eigenvalues_of_its_matrix() -> None:
    a, b, c = torch.diag(torch.tensor([1.0, 2.0])), torch.tensor([[3.0], [-1.0]]), torch.tensor([[0.5]])
    matrix = torch.cat([torch.cat([a, b], 1), torch.cat([-b.T, c], 1)]).double()
    game = Quadratic(a.double(), b.double(), c.double())
    spectrum = jacobian_spectrum(game, *start(game))
    np.testing.assert_allclose(
        sorted_values(spectrum.eigenvalues), sorted_values(torch.linalg.eigvals(matrix)), atol=1e-8
    )


@pytest.mark.parametrize("strength", [0.0, 0.3, 2.0])
def test_dirac_gan_with_r1_at_its_solution(strength: float) -> None:
    """θ̇ = ψf'(0), ψ̇ = −θf'(0) + γψ with f' = −1/2: λ² − γλ + 1/4 = 0."""
    game = DiracGAN(Minimax(), R1(strength) if strength else None, start=(0.0, 0.0))
    eigenvalues = jacobian_spectrum(game, *start(game)).eigenvalues
    root = complex(strength**2 - 1) ** 0.5
    expected = torch.tensor([(strength + root) / 2, (strength - root) / 2], dtype=torch.complex128)
    np.testing.assert_allclose(sorted_values(eigenvalues), sorted_values(expected), atol=1e-8)


def test_consensus_increases_the_real_parts_of_the_bilinear_eigenvalues() -> None:
    game = Bilinear(scale=2.0)
    spectrum = jacobian_spectrum(game, *start(game), method=consensus(strength=0.25))
    assert spectrum.regularised is not None
    np.testing.assert_allclose(sorted_values(spectrum.regularised), [1 - 2j, 1 + 2j], atol=1e-9)
    assert spectrum.used is spectrum.regularised


@pytest.mark.parametrize("field", ["consensus", "paper", "code"])
def test_regularised_spectrum_equals_finite_differences_of_the_methods_field(field: str) -> None:
    """Quadratic games have ∇²v = 0, so w' = J + γ JᵀJ holds everywhere."""
    game = Quadratic([[1.0]], [[2.0, 0.5]], [[0.3, 0.0], [0.0, 0.7]])
    state, batch = start(game)
    if field == "consensus":
        method = consensus(strength=0.4)
    else:
        method = Method(Smoothing(0.4, field, player="y"), Simultaneous(), SGD(0.1))  # type: ignore[arg-type]

    def w(x: Tensor) -> Tensor:
        at = dict(zip(game.players, x.split([1, 2]), strict=True))
        return torch.cat(list(method.field(game, at, {}, batch, {}, game.players)[0].field.values()))

    x, step = torch.cat(list(state.vectors.values())), 1e-5
    rows = [(w(x + step * e) - w(x - step * e)) / (2 * step) for e in torch.eye(3).double()]
    eigenvalues = jacobian_spectrum(game, state, batch, method).regularised
    assert eigenvalues is not None
    expected = torch.linalg.eigvals(torch.stack(rows, 1))
    np.testing.assert_allclose(sorted_values(eigenvalues), sorted_values(expected), atol=1e-7)


def test_gradient_descent_has_no_regularised_spectrum() -> None:
    game = Bilinear()
    assert isinstance(simultaneous().field, Gradient)
    assert jacobian_spectrum(game, *start(game), method=simultaneous()).regularised is None


def test_jacobian_by_finite_differences() -> None:
    game, state, batch = smooth()
    matrix, step = jacobian(game, state.vectors, state.buffers, batch), 1e-6
    sizes = [len(vector) for vector in state.vectors.values()]
    x = torch.cat(list(state.vectors.values()))

    def v(x: Tensor) -> Tensor:
        at = dict(zip(game.players, x.split(sizes), strict=True))
        return torch.cat(list(vector_field(game, at, state.buffers, batch).field.values()))

    for column in range(0, len(x), 7):
        shift = torch.zeros_like(x)
        shift[column] = step
        torch.testing.assert_close(matrix[:, column], (v(x + shift) - v(x - shift)) / (2 * step), atol=1e-8, rtol=1e-6)


def test_products_are_those_of_the_matrix() -> None:
    game, state, batch = smooth()
    point = (game, state.vectors, state.buffers, batch)
    matrix = jacobian(*point)
    torch.testing.assert_close(jacobian(*point, chunk=5), matrix)
    tangent = {name: vector.cos() for name, vector in state.vectors.items()}
    product = torch.cat(list(jacobian_vector(*point, tangent).values()))
    torch.testing.assert_close(product, matrix @ torch.cat(list(tangent.values())))
    several = torch.linspace(-1, 1, 3 * len(matrix)).double().reshape(3, -1)
    torch.testing.assert_close(transposed_jacobian(*point)(several), several @ matrix)


@pytest.mark.parametrize("which", ["LM", "LR", "SR"])
def test_leading_eigenvalues_are_those_of_the_dense_matrix(which: str) -> None:
    game, state, batch = smooth()
    dense = jacobian_spectrum(game, state, batch).eigenvalues
    leading = leading_eigenvalues(game, state, batch, 4, which, tolerance=1e-9)  # type: ignore[arg-type]
    assert leading.size == len(dense) and leading.eigenvalues.dtype == torch.complex128
    assert len(leading.eigenvalues) == 4
    order = ORDERS[which]
    best = order(dense).sort(descending=True).values[:4]
    torch.testing.assert_close(order(leading.eigenvalues), best, atol=1e-7, rtol=1e-6)
    gaps = (leading.eigenvalues[:, None] - dense[None]).abs().min(1).values
    assert float(gaps.max()) < 1e-7


def test_largest_imaginary_part_of_a_large_game() -> None:
    game = Quadratic(torch.zeros(30, 30), torch.diag(torch.linspace(0.1, 3.0, 30)), torch.zeros(30, 30))
    eigenvalues = leading_eigenvalues(game, *start(game), count=3, which="LI", tolerance=1e-9).eigenvalues
    torch.testing.assert_close(eigenvalues.imag.abs(), torch.tensor([3.0, 3.0, 2.9]).double(), atol=1e-6, rtol=0)


def test_leading_eigenvalues_of_a_small_game_are_computed_densely() -> None:
    spectrum = leading_eigenvalues(*(game := Bilinear(scale=2.0), *start(game)), count=5)
    np.testing.assert_allclose(sorted_values(spectrum.eigenvalues), [-2j, 2j], atol=1e-12)


def test_leading_eigenvalues_are_deterministic_in_single_precision() -> None:
    game = ring(width=6, depth=2, batch=32)
    state, batch = start(game)
    first, second = (leading_eigenvalues(game, state, batch, 3).eigenvalues for _ in range(2))
    assert first.dtype == torch.complex64 and torch.equal(first, second)


def test_unconverged_eigenvalues_are_left_out() -> None:
    """Eigenvalues that crowd, full accuracy, one round: not all can be found, and this is no error."""
    game = Quadratic(torch.diag(torch.linspace(1, 1.01, 150)), torch.zeros(150, 150), torch.diag(torch.ones(150)))
    spectrum = leading_eigenvalues(game, *start(game), count=6, which="SR", tolerance=0, products=1)
    assert len(spectrum.eigenvalues) < 6


def test_spectra_change_no_state() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))
    game = Adversarial(MLP(4, 2, 5, 1), network, torch.linspace(-1, 1, 100).reshape(50, 2), latent=4, batch=16)
    state, batch = start(game)
    before = {name: tensor.clone() for name, tensor in state.flat().items()}
    torch.manual_seed(3)
    rng, numpy_rng = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    eigenvalues = jacobian_spectrum(game, state, batch, consensus()).eigenvalues
    leading = leading_eigenvalues(game, state, batch, 2).eigenvalues
    assert torch.equal(rng, torch.get_rng_state())
    assert np.array_equal(numpy_rng, np.random.get_state()[1])  # type: ignore[index]
    assert all(torch.equal(before[name], tensor) for name, tensor in state.flat().items())
    assert math.isclose(float(eigenvalues.abs().max()), float(leading.abs().max()), rel_tol=1e-3)


def test_a_diverged_state_is_refused() -> None:
    game, state, batch = smooth()
    broken = replace(state, vectors={name: vector * math.nan for name, vector in state.vectors.items()})
    for function in (jacobian_spectrum, leading_eigenvalues):
        with pytest.raises(InvalidValue, match="not finite"):
            function(game, broken, batch)


def test_arguments_are_checked() -> None:
    game = Bilinear()
    with pytest.raises(InvalidValue, match="LR"):
        leading_eigenvalues(game, *start(game), which="LX")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="count"):
        leading_eigenvalues(game, *start(game), count=0)
    large = ring(width=60)
    with pytest.raises(InvalidValue, match="leading_eigenvalues"):
        jacobian_spectrum(large, *start(large))
