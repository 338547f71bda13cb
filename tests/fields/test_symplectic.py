"""Symplectic gradient adjustment: the dense formula, its sign, and convergence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detente import methods
from detente.fields.consensus import Consensus
from detente.fields.symplectic import Symplectic
from detente.game import Game
from detente.games.quadratic import Bilinear, Quadratic
from detente.methods.method import Method
from detente.optimizers.sgd import SGD
from detente.schemes.simultaneous import Simultaneous
from tests.fields.small_games import Array, Three, direction, quadratic


def games() -> dict[str, tuple[Game, Array]]:
    three = Three()
    return {
        "zero-sum": quadratic(),
        "general-sum": quadratic(3, zero_sum=False),
        "three players": (three, three.dense.numpy()),
    }


@pytest.mark.parametrize("name", games())
def test_direction_equals_the_dense_formula(name: str) -> None:
    game, dense = games()[name]
    v, w, _ = direction(Symplectic(0.7, align=False), game)
    np.testing.assert_allclose(w, v + 0.7 * (dense.T - dense) @ v / 2, rtol=1e-12)


def test_the_sign_follows_the_alignment() -> None:
    signs = set()
    for seed in range(12):
        game, dense = quadratic(seed)
        v, w, _ = direction(Symplectic(0.7), game, seed)
        turn = (dense.T - dense) @ v / 2
        sign = np.sign((v @ dense.T @ v) * (turn @ dense.T @ v) / len(v) + 0.1)
        np.testing.assert_allclose(w, v + 0.7 * sign * turn, rtol=1e-12)
        signs.add(sign)
    assert signs == {-1.0, 1.0}


def test_epsilon_determines_the_sign_near_a_fixed_point() -> None:
    dense = np.block([[-np.eye(1), np.eye(1)], [-np.eye(1), -np.eye(1)]])  # unstable: aligned, λ < 0 far from zero
    for distance, expected in ((1e-3, 1.0), (1e3, -1.0)):
        game = Quadratic([[-1.0]], [[1.0]], [[-1.0]], start=(distance, distance))
        v, w, _ = direction(Symplectic(), game)
        np.testing.assert_allclose(w, v + expected * (dense.T - dense) @ v / 2, rtol=1e-12)


def distance_ratio(play: Method, game: Game, steps: int) -> float:
    """Return the last point's distance from zero divided by the first's."""
    state = play.initial(game, torch.Generator().manual_seed(0))
    first = torch.cat(list(state.vectors.values())).norm()
    for _ in range(steps):
        state, _ = play.step(game, state, ({},))
    return float(torch.cat(list(state.vectors.values())).norm() / first)


def test_converges_where_gradients_cycle() -> None:
    game = Bilinear(3)
    assert distance_ratio(methods.simultaneous("sgd", 0.2), game, 100) > 5
    assert distance_ratio(methods.symplectic_adjustment(optimizer="sgd", learning_rate=0.2), game, 100) < 1e-6


def test_leaves_a_maximum_that_attracts_consensus() -> None:
    game = Quadratic([[-1.0]], [[0.0]], [[-1.0]])  # both players at the maximum of their own loss
    assert distance_ratio(Method(Consensus(10.0), Simultaneous(), SGD(0.05)), game, 100) < 1e-6
    assert distance_ratio(methods.symplectic_adjustment(optimizer="sgd", learning_rate=0.05), game, 100) > 100


def test_one_requested_block_equals_that_of_all_blocks() -> None:
    game, _ = quadratic(3, zero_sum=False)
    vectors, buffers = game.initial(torch.Generator().manual_seed(0))
    whole, _ = Symplectic()(game, vectors, buffers, {}, {}, ("x", "y"))
    alone, _ = Symplectic()(game, vectors, buffers, {}, {}, ("y",))
    assert set(alone.field) == set(alone.losses) == {"y"}
    torch.testing.assert_close(alone.field["y"], whole.field["y"], rtol=0, atol=0)
