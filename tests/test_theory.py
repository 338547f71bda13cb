"""Theory rows: the linear update of each method on games with linear fields, against closed forms."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from detente import methods
from detente.autodiff import jacobian
from detente.fields.smoothing import Smoothing
from detente.game import Game
from detente.games.dirac_gan import DiracGAN
from detente.games.quadratic import Bilinear, Quadratic
from detente.methods.method import Method
from detente.objectives.base import Objective
from detente.optimizers.momentum import Momentum
from detente.optimizers.sgd import SGD
from detente.penalties.r1 import R1
from detente.registry import members
from detente.schemes.alternating import Alternating
from detente.schemes.simultaneous import Simultaneous
from detente.state import State, flatten, unflatten


def start(game: Game, method: Method) -> State:
    """Return a start at the origin, past the first step, where some schemes begin in their own way."""
    vectors, buffers = game.initial(generator := torch.Generator().manual_seed(0))
    state = method.beginning(game, {name: torch.zeros_like(v) for name, v in vectors.items()}, buffers, generator)
    return State(torch.ones((), dtype=torch.int64), state.vectors, state.buffers, state.memory)


def update_matrix(game: Game, method: Method) -> np.ndarray:
    """Return the matrix of one step on parameters and memory together, its columns the images of unit vectors."""
    origin = start(game, method)
    flat = {k: v for k, v in flatten(origin.tree()).items() if v.is_floating_point()}
    sizes = [tensor.numel() for tensor in flat.values()]
    columns = []
    for unit in torch.eye(sum(sizes)).double():
        pieces = dict(zip(flat, unit.split(sizes), strict=True))
        state = State(**unflatten({"t": origin.t, **pieces}, origin.tree()))
        batches = tuple(game.draw(torch.Generator()) for _ in range(method.draws(game)))
        after, _ = method.step(game, state, batches)
        columns.append(torch.cat([flatten(after.tree())[name] for name in flat]).numpy())
    return np.stack(columns, axis=1)


def eigenvalues(game: Game, method: Method) -> np.ndarray:
    return np.linalg.eigvals(update_matrix(game, method))


def radius(game: Game, method: Method) -> float:
    return float(np.abs(eigenvalues(game, method)).max())


def same_spectrum(actual: np.ndarray, expected: np.ndarray, tolerance: float = 1e-10) -> None:
    """Assert that two spectra agree as sets with multiplicity."""
    unmatched = list(actual)
    assert len(actual) == len(expected)
    for value in expected:
        nearest = min(unmatched, key=lambda other: abs(other - value))
        assert abs(nearest - value) < tolerance, (actual, expected)
        unmatched.remove(nearest)


def descent(name: str, rate: float, **settings: float) -> Method:
    return methods.names()[name](optimizer=SGD(rate), **settings)  # type: ignore[call-arg]


def larger_root(b: complex, c: complex) -> float:
    """Return the larger modulus of the roots of λ² + bλ + c."""
    root = cmath.sqrt(b * b - 4 * c)
    return max(abs(-b + root), abs(-b - root)) / 2


# One row: a method with its settings, and its growth factor on f(x, y) = σxy as a function of the step size and σ.
ROWS: dict[str, tuple[dict[str, float], Callable[[float, float], float]]] = {
    "simultaneous": ({}, lambda h, s: math.sqrt(1 + (h * s) ** 2)),
    "extragradient": ({}, lambda h, s: math.sqrt(1 - (h * s) ** 2 + (h * s) ** 4)),
    "alternating": ({}, lambda h, s: larger_root(-(2 - (h * s) ** 2), 1)),
    # With J = σ times a quarter turn, I − η(J + γJᵀJ) has eigenvalues 1 − ηγσ² ± iησ.
    "consensus": ({"strength": 0.7}, lambda h, s: math.hypot(1 - 0.7 * h * s * s, h * s)),
    # λ² − (1 − 2iησ)λ − iησ = 0, from x⁺ = x − 2ηJx + ηJx⁻.
    "optimistic": ({}, lambda h, s: larger_root(-(1 - 2j * h * s), -1j * h * s)),
    "past_extragradient": ({}, lambda h, s: larger_root(-(1 - 2j * h * s), -1j * h * s)),
}


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("rate", [0.1, 0.4])
@pytest.mark.parametrize("name", ROWS)
def test_growth_factor_on_the_bilinear_game(name: str, rate: float, sigma: float) -> None:
    settings, factor = ROWS[name]
    game = Bilinear(scale=sigma)
    assert radius(game, descent(name, rate, **settings)) == pytest.approx(factor(rate, sigma), abs=1e-10)


def test_smoothing_on_the_bilinear_game_regularises_one_player() -> None:
    """With ∇_y ½‖v‖² = σ²y (the paper) or, from the other's gradient v_x = σy alone, σ²y again (the code)."""
    h, s, gamma = 0.3, 1.4, 0.6
    expected = np.array([[1, -h * s], [h * s, 1 - h * gamma * s * s]])
    for definition in ("paper", "code"):
        method = Method(Smoothing(gamma, definition, player="y"), Simultaneous(), SGD(h))
        np.testing.assert_allclose(update_matrix(Bilinear(scale=s), method), expected, atol=1e-12)


@pytest.mark.parametrize(("name", "contracts"), [("simultaneous", False), ("extragradient", True)])
def test_extragradient_contracts_where_simultaneous_descent_spirals_out(name: str, contracts: bool) -> None:
    for product in (0.05, 0.5, 0.99):
        assert (radius(Bilinear(scale=2.0), descent(name, product / 2)) < 1) is contracts


def test_extragradient_no_longer_contracts_at_one() -> None:
    assert radius(Bilinear(scale=2.0), descent("extragradient", 0.5)) == pytest.approx(1.0, abs=1e-12)
    assert radius(Bilinear(scale=2.0), descent("extragradient", 0.51)) > 1


def test_alternating_descent_has_spectral_radius_one_for_steps_up_to_two() -> None:
    for product in (0.1, 1.0, 1.9):
        values = eigenvalues(Bilinear(scale=2.0), descent("alternating", product / 2))
        np.testing.assert_allclose(np.abs(values), 1, atol=1e-12)
    assert radius(Bilinear(scale=2.0), descent("alternating", 1.05)) > 1.3


def test_reversing_the_alternating_order_exchanges_the_players() -> None:
    first = Method(descent("simultaneous", 0.3).field, Alternating(("x", "y")), SGD(0.3))
    second = Method(descent("simultaneous", 0.3).field, Alternating(("y", "x")), SGD(0.3))
    h = 0.3
    np.testing.assert_allclose(update_matrix(Bilinear(), first), [[1, -h], [h, 1 - h * h]], atol=1e-15)
    np.testing.assert_allclose(update_matrix(Bilinear(), second), [[1 - h * h, -h], [h, 1]], atol=1e-15)


def test_turns_repeat_a_players_step() -> None:
    a = Quadratic([[1.0]], [[0.5]], [[2.0]])
    h, c = 0.1, 2.0
    method = Method(descent("simultaneous", h).field, Alternating(("y", "x"), {"y": 3}), SGD(h))
    turn_y = np.array([[1, 0], [h * 0.5, 1 - h * c]])
    turn_x = np.array([[1 - h, -h * 0.5], [0, 1]])
    np.testing.assert_allclose(update_matrix(a, method), turn_x @ np.linalg.matrix_power(turn_y, 3), atol=1e-14)


def test_optimistic_descent_is_past_extragradient_at_its_trial_points() -> None:
    """x½ₜ = xₜ − ηv(x½ₜ₋₁) obeys x½⁺ = x½ − 2ηv(x½) + ηv(x½⁻): the trial points are optimistic descent's iterates."""
    game, rate = Quadratic([[0.3]], [[1.1]], [[0.2]], start=(1.0, -0.5)), 0.2
    vectors, buffers = game.initial(torch.Generator())
    past, optimistic = descent("past_extragradient", rate), descent("optimistic", rate)
    state = past.beginning(game, vectors, buffers, torch.Generator())
    trials = []
    for _ in range(6):
        last = state.memory["scheme"]["last"]
        trials.append({name: state.vectors[name] - rate * last[name] for name in vectors})
        state, _ = past.step(game, state, ({},))
    fresh = optimistic.beginning(game, vectors, buffers, torch.Generator())
    state = replace(fresh, t=fresh.t + 1)  # v₋₁ = 0 as in the past extragradient; at t = 0 it would be v₀
    for trial in trials:
        torch.testing.assert_close(state.vectors, trial, rtol=1e-12, atol=1e-12)
        state, _ = optimistic.step(game, state, ({},))


def test_the_first_optimistic_step_equals_a_gradient_step() -> None:
    game = Quadratic([[0.3]], [[1.1]], [[0.2]], start=(1.0, -0.5))
    vectors, buffers = game.initial(torch.Generator())
    vectors_after = []
    for name in ("optimistic", "simultaneous"):
        method = descent(name, 0.2)
        vectors_after.append(
            method.step(game, method.beginning(game, vectors, buffers, torch.Generator()), ({},))[0].vectors
        )
    torch.testing.assert_close(vectors_after[0], vectors_after[1], rtol=1e-14, atol=0)


@pytest.mark.parametrize("mu", [-0.3, 0.5])
@pytest.mark.parametrize("nesterov", [False, True])
def test_eigenvalues_with_momentum_are_roots_of_the_characteristic_polynomial(mu: float, nesterov: bool) -> None:
    h, s = 0.2, 1.5
    method = methods.simultaneous(optimizer=Momentum(h, mu, nesterov))
    expected = []
    for a in (1j * s, -1j * s):  # an eigenvalue of J; m⁺ = μm + ax, x⁺ = x − ηm⁺ (Nesterov: x − η(ax + μm⁺))
        move = [mu * mu, (1 + mu) * a] if nesterov else [mu, a]
        expected += list(np.linalg.eigvals(np.array([[mu, a], [-h * move[0], 1 - h * move[1]]])))
    same_spectrum(eigenvalues(Bilinear(scale=s), method), np.array(expected))


def test_negative_momentum_makes_alternating_descent_contract() -> None:
    """Gidel et al. 2019 (arXiv:1807.04740), theorem 6: it contracts on the bilinear game, zero momentum does not."""
    game = Bilinear()
    assert radius(game, methods.alternating(optimizer=Momentum(0.5, -0.5))) < 1 - 1e-3
    assert radius(game, methods.simultaneous(optimizer=Momentum(0.5, -0.5))) > 1


def general(seed: int, back: bool) -> tuple[Quadratic, np.ndarray]:
    """Return a random quadratic game and its Jacobian."""
    random = np.random.default_rng(seed)
    a, c = random.normal(size=(2, 2)), random.normal(size=(3, 3))
    a, c, b = a + a.T, c + c.T, random.normal(size=(2, 3))
    e = random.normal(size=(3, 2)) if back else -b.T
    game = Quadratic(*(torch.tensor(m) for m in (a, b, c)), back=torch.tensor(e) if back else None)
    return game, np.block([[a, b], [e, c]])


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_steps_on_quadratic_games_equal_matrix_formulas(seed: int, back: bool) -> None:
    game, j = general(seed, back)
    h, gamma, identity = 0.05, 0.3, np.eye(5)
    lower, upper = np.diag([1, 1, 0, 0, 0]), np.diag([0, 0, 1, 1, 1])
    rows = {
        "simultaneous": identity - h * j,
        "extragradient": identity - h * j @ (identity - h * j),
        "alternating": (identity - h * lower @ j) @ (identity - h * upper @ j),  # y first
    }
    for name, expected in rows.items():
        np.testing.assert_allclose(update_matrix(game, descent(name, h)), expected, atol=1e-12, err_msg=name)
    consensus = update_matrix(game, descent("consensus", h, strength=gamma))
    np.testing.assert_allclose(consensus, identity - h * (j + gamma * j.T @ j), atol=1e-12)
    for name in ("optimistic", "past_extragradient"):
        pairs = [np.roots([1, -(1 - 2 * h * value), -h * value]) for value in np.linalg.eigvals(j)]
        same_spectrum(eigenvalues(game, descent(name, h)), np.concatenate(pairs), 1e-8)


def test_jacobian_of_a_quadratic_game_equals_its_matrix() -> None:
    for seed in (2, 3):
        for back in (False, True):
            game, expected = general(seed, back)
            vectors, buffers = game.initial(torch.Generator().manual_seed(0))
            np.testing.assert_allclose(jacobian(game, vectors, buffers, {}).numpy(), expected, atol=1e-12)


def test_step_bound_of_lemma_4() -> None:
    """Simultaneous descent converges iff h < 2 Re λ/|λ|² for every eigenvalue λ of J (Mescheder et al. 2017)."""
    game = Quadratic([[0.4]], [[1.3]], [[0.2]])
    values = np.linalg.eigvals(np.array([[0.4, 1.3], [-1.3, 0.2]]))
    bound = float(min(2 * values.real / np.abs(values) ** 2))
    assert radius(game, descent("simultaneous", 0.999 * bound)) < 1
    assert radius(game, descent("simultaneous", 1.001 * bound)) > 1


# Dirac-GAN: at the solution J = [[0, g], [d, γ]] with the slopes g and d of the two losses in the score.


def slopes_at_zero(objective: Objective) -> tuple[float, float]:
    """Return dL_G/ds and dL_D/ds at a fake score s = 0, by central differences in float64."""
    zero, step = torch.zeros(1).double(), 1e-4

    def loss(which: str, s: float) -> float:
        return float(getattr(objective, f"{which}_loss")(zero, zero + s))

    def slope(which: str) -> float:
        return (loss(which, step) - loss(which, -step)) / (2 * step)

    return slope("generator"), slope("discriminator")


def dirac_jacobian(game: DiracGAN) -> Tensor:
    vectors, buffers = game.initial(torch.Generator())
    zero = {name: torch.zeros_like(vector) for name, vector in vectors.items()}
    return jacobian(game, zero, buffers, game.draw(torch.Generator()))


@pytest.mark.parametrize("name", sorted(members("objectives")))
def test_dirac_gan_has_imaginary_eigenvalues_at_its_solution(name: str) -> None:
    """Mescheder et al. 2018, lemma 2.3: eigenvalues ±i f′(0) where the game is f(ψθ) + f(0), here ±i√(−g·d).

    At the solution all losses depend on θ and ψ through s = ψθ alone: the second derivatives are g and d off the
    diagonal, and zero on it.
    """
    objective = members("objectives")[name]()
    generator, discriminator = slopes_at_zero(objective)
    actual = np.linalg.eigvals(dirac_jacobian(DiracGAN(objective)).numpy())
    same_spectrum(actual, np.array([1, -1]) * cmath.sqrt(generator * discriminator), 1e-6)
    if objective.zero_sum:
        assert generator == pytest.approx(-discriminator)
        np.testing.assert_allclose(actual.real, 0, atol=1e-12)


DIRAC_SLOPES = {"non_saturating": 0.5, "minimax": 0.5, "wasserstein": 1.0}


@pytest.mark.parametrize(("name", "slope"), DIRAC_SLOPES.items())
def test_dirac_gan_with_r1_converges(name: str, slope: float) -> None:
    """Mescheder et al. 2018, lemma 2.6 and section 4.1: λ = γ/2 ± √(γ²/4 − f′(0)²) in the descent convention."""
    for gamma in (0.3, 2.5):
        actual = np.linalg.eigvals(dirac_jacobian(DiracGAN(members("objectives")[name](), R1(gamma))).numpy())
        root = cmath.sqrt(gamma**2 / 4 - slope**2)
        same_spectrum(actual, np.array([gamma / 2 + root, gamma / 2 - root]), 1e-10)
        assert (actual.real > 0).all()


def test_dirac_gan_descent_diverges_and_consensus_converges() -> None:
    game = DiracGAN(members("objectives")["minimax"](), start=(0.5, 0.5))
    vectors, buffers = game.initial(torch.Generator())

    def distance(method: Method, steps: int = 300) -> float:
        state = method.beginning(game, vectors, buffers, torch.Generator())
        for _ in range(steps):
            batches = tuple({} for _ in range(method.draws(game)))
            state, _ = method.step(game, state, batches)
        return float(torch.cat(list(state.vectors.values())).norm())

    begin = math.hypot(0.5, 0.5)
    assert distance(descent("simultaneous", 0.2)) > 1.1 * begin
    assert distance(descent("consensus", 0.2, strength=1.0)) < 0.01 * begin
    assert distance(descent("extragradient", 0.2)) < 0.5 * begin
