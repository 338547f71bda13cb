"""Follow the ridge: dense solutions, and which points of known functions attract it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from detente import methods
from detente.autodiff import jacobian
from detente.errors import InvalidValue
from detente.fields.follow_the_ridge import FollowTheRidge
from detente.games.dirac_gan import DiracGAN
from detente.games.low_dimensional import LowDimensional
from detente.methods.method import Method
from detente.optimizers.sgd import SGD
from detente.schemes.simultaneous import Simultaneous
from tests.fields.small_games import Array, Three, counted, direction, gan, quadratic, start


def ridge(dense: Array, pull: Array, leader: slice, follower: slice, damping: float) -> Array:
    """Return H_yy⁻¹ H_yx times the leader's direction, by a dense solution of (H_yy² + d I) s = H_yy h."""
    own_block, across = dense[follower, follower], dense[follower, leader]
    return np.asarray(
        np.linalg.solve(own_block @ own_block + damping * np.eye(len(own_block)), own_block @ across @ pull),
        dtype=np.float64,
    )


@pytest.mark.parametrize("damping", [0.0, 0.7])
@pytest.mark.parametrize("leader", [None, "x", "y"])
def test_direction_equals_the_papers_formula(leader: str | None, damping: float) -> None:
    game, dense = quadratic()
    v, w, _ = direction(FollowTheRidge(1.5, damping, 30, 1e-14, leader), game)
    first, second = (slice(4, 7), slice(0, 4)) if leader == "y" else (slice(0, 4), slice(4, 7))
    expected = v.copy()
    expected[second] -= 1.5 * ridge(dense, v[first], first, second, damping)
    np.testing.assert_allclose(w, expected, rtol=1e-8)


def test_signs_equal_the_papers() -> None:
    """y⁺ = y + η_y ∇_y f + η_x H_yy⁻¹ H_yx ∇_x f, for f = −3x² − y² + 4xy at (1, 2) by hand."""
    game = LowDimensional("f1", start=(1.0, 2.0))
    play = Method(FollowTheRidge(0.5, 0.0), Simultaneous(), {"x": SGD(0.05), "y": SGD(0.1)})
    state, _ = play.step(game, play.initial(game, torch.Generator()), ({},))
    slope_x, slope_y = -6 * 1 + 4 * 2, -2 * 2 + 4 * 1
    assert float(state.vectors["x"]) == pytest.approx(1 - 0.05 * slope_x)
    assert float(state.vectors["y"]) == pytest.approx(2 + 0.1 * slope_y + 0.05 * (1 / -2) * 4 * slope_x)


def test_direction_for_networks_equals_the_dense_jacobian_formula() -> None:
    game = gan()
    at = start(game)
    dense, n = jacobian(game, *at).numpy(), at[0]["generator"].numel()
    first, second = slice(0, n), slice(n, None)
    v, w, _ = direction(FollowTheRidge(damping=0.01, iterations=200, tolerance=1e-13), game)
    expected = v.copy()
    expected[second] -= ridge(dense, v[first], first, second, 0.01)
    np.testing.assert_allclose(w, expected, rtol=1e-7, atol=1e-10)


def test_preconditioned_gradients_enter_the_correction() -> None:
    game, dense = quadratic()
    field, memory, square = FollowTheRidge(1.0, 0.3, 30, 1e-14, decay=0.9), None, np.zeros(7)
    for seed in range(1, 4):  # the same field continues at other points
        v, w, memory = direction(field, game, seed, memory)
        square = 0.9 * square + 0.1 * v**2
        expected = v / (np.sqrt(square / (1 - 0.9**seed)) + 1e-8)
        expected[4:] -= ridge(dense, expected[:4], slice(0, 4), slice(4, 7), 0.3)
        np.testing.assert_allclose(w, expected, rtol=1e-8)


def final_distance(play: Method, function: str, steps: int) -> float:
    """Return the distance from zero after training on a function of two numbers."""
    game = LowDimensional(function)
    state = play.initial(game, torch.Generator())
    for _ in range(steps):
        state, _ = play.step(game, state, ({},))
    return math.hypot(*(float(vector) for vector in state.vectors.values()))


def exact() -> Method:
    return methods.follow_the_ridge(0.05, damping=0.0, decay=None)


@pytest.mark.parametrize("function", ["f1", "f3"])
def test_converges_to_a_local_minimax_point_where_gradients_do_not(function: str) -> None:
    """Zero is a local minimax point of f1 and f3: f is concave in y, and its maximum over y is convex in x."""
    assert final_distance(exact(), function, 200) < 1e-6
    assert final_distance(methods.simultaneous("sgd", 0.05), function, 200) > 1


def test_leaves_a_stationary_point_that_is_not_minimax_where_gradients_converge() -> None:
    """Zero is a minimum of f2 in y, which y leaves; gradients converge to it."""
    assert final_distance(methods.simultaneous("sgd", 0.05), "f2", 300) < 1e-6
    assert final_distance(exact(), "f2", 100) > 100


def test_declared_cost_is_an_upper_bound_and_exact_without_a_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    game = gan()
    at = start(game)
    for tolerance in (0.0, 0.9):
        field = FollowTheRidge(tolerance=tolerance)
        for moving in (("generator",), ("discriminator",), game.players):
            cost = counted(monkeypatch, lambda field=field, moving=moving: field(game, *at, {}, moving))
            bound = field.gradient_evaluations(moving, game.players)
            assert cost == bound if tolerance == 0 or moving == ("generator",) else cost < bound


def test_one_requested_block_equals_that_of_all_blocks() -> None:
    game, at = quadratic()[0], start(quadratic()[0])
    field = FollowTheRidge(decay=0.9)
    memory = field.initial(game, *at[:2])
    whole, known = field(game, *at, memory, ("x", "y"))
    for name in ("x", "y"):
        alone, memory_alone = field(game, *at, memory, (name,))
        assert set(alone.field) == {name}
        torch.testing.assert_close(alone.field[name], whole.field[name], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(memory_alone["square"][name], known["square"][name])
        assert [int(count) for count in memory_alone["count"].values()] == [int(n == name) for n in ("x", "y")]


def test_unsuitable_games_are_refused() -> None:
    for game, message in (
        (DiracGAN(), "game: got 'DiracGAN that is not zero-sum'; allowed: a zero-sum game"),
        (Three(), "game: got 'Three with 3 players'; allowed: a game of two players"),
    ):
        with pytest.raises(InvalidValue, match=message):
            methods.follow_the_ridge().initial(game, torch.Generator())
    with pytest.raises(InvalidValue, match="leader: got 'z'; allowed: one of x, y"):
        FollowTheRidge(leader="z").check(quadratic()[0])
