"""Extrapolation from the past, by loops in numpy: each field enters an optimizer's memory once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from detente import methods
from detente.games.quadratic import Quadratic
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.optimizers.base import Optimizer
from detente.optimizers.momentum import Momentum
from detente.optimizers.optimistic_adam import OptimisticAdam
from detente.optimizers.rmsprop import RMSprop
from detente.optimizers.sgd import SGD
from detente.schedules import Linear
from detente.state import State

J = np.array([[0.5, 0.3, 1.0], [0.3, 0.8, -0.4], [-0.7, 0.2, 0.6]])
GAME = Quadratic(torch.tensor(J[:2, :2]), torch.tensor(J[:2, 2:]), torch.tensor(J[2:, 2:]), torch.tensor(J[2:, :2]))
H, FIRST, SECOND, MU, ALPHA, EPSILON = 0.1, 0.5, 0.9, 0.6, 0.99, 1e-8
Moves = Callable[[np.ndarray], np.ndarray]


def adam() -> Moves:
    """Return what turns one gradient after the other into Adam's moves."""
    m, s, t = np.zeros(3), np.zeros(3), 0

    def move(g: np.ndarray) -> np.ndarray:
        nonlocal m, s, t
        m, s, t = FIRST * m + (1 - FIRST) * g, SECOND * s + (1 - SECOND) * g**2, t + 1
        return H * (m / (1 - FIRST**t)) / (np.sqrt(s / (1 - SECOND**t)) + EPSILON)

    return move


def momentum() -> Moves:
    m = np.zeros(3)

    def move(g: np.ndarray) -> np.ndarray:
        nonlocal m
        m = MU * m + g
        return H * m

    return move


def rmsprop() -> Moves:
    s = np.zeros(3)

    def move(g: np.ndarray) -> np.ndarray:
        nonlocal s
        s = ALPHA * s + (1 - ALPHA) * g**2
        return H * g / (np.sqrt(s) + EPSILON)

    return move


PAIRS: dict[str, tuple[Optimizer, Callable[[], Moves]]] = {
    "sgd": (SGD(H), lambda: lambda g: H * g),
    "momentum": (Momentum(H, MU), momentum),
    "rmsprop": (RMSprop(H, ALPHA, EPSILON), rmsprop),
    "adam": (Adam(H, (FIRST, SECOND), EPSILON), adam),
}


def initial_state(optimizer: Optimizer) -> tuple[Method, State, np.ndarray]:
    method = methods.names()["past_extragradient"](optimizer=optimizer)
    vectors, buffers = GAME.initial(torch.Generator().manual_seed(1))
    return method, method.beginning(GAME, vectors, buffers, torch.Generator()), point(vectors)


def point(vectors: Any) -> np.ndarray:
    return torch.cat([vectors["x"], vectors["y"]]).numpy()


@pytest.mark.parametrize("name", PAIRS)
def test_steps_equal_a_loop_in_numpy(name: str) -> None:
    """x½ = x − a_t, x ← x − a_{t+1} with a_{t+1} the optimizer's move for v(x½), which makes the same trial next."""
    optimizer, moves = PAIRS[name]
    method, state, x = initial_state(optimizer)
    move, last = moves(), np.zeros(3)
    for _ in range(12):
        last = move(J @ (x - last))
        x = x - last
        state, _ = method.step(GAME, state, ({},))
        np.testing.assert_allclose(point(state.vectors), x, rtol=1e-9, atol=1e-12)


def test_trial_points_with_adam_equal_optimistic_adam() -> None:
    """x½ ← x½ − 2a_t + a_{t−1}, the recursion of Optimistic Adam, by its own code from the second step on."""
    settings = H, (FIRST, SECOND), EPSILON
    method, state, _ = initial_state(Adam(*settings))
    optimistic, memory, trial = OptimisticAdam(*settings), None, None
    last = np.zeros(3)
    for t in range(8):
        x = point(state.vectors)
        now = torch.tensor(x - last)
        if trial is None or memory is None:
            memory = optimistic.initial(now)
        else:
            torch.testing.assert_close(now, trial, rtol=1e-9, atol=1e-12)
        trial, memory = optimistic(now, torch.tensor(J) @ now, memory, torch.tensor(t))
        if t == 0:  # Optimistic Adam begins with a_{−1} = a_0, the past extragradient with a_{−1} = 0
            trial = trial - memory["last"]
        state, _ = method.step(GAME, state, ({},))
        last = x - point(state.vectors)


def test_the_trial_point_uses_the_rate_of_the_current_step() -> None:
    schedule = Linear(0.2, 0.05, 4)
    method, state, x = initial_state(SGD(schedule))
    last = np.zeros(3)
    for t in range(6):
        rate = 0.2 + (0.05 - 0.2) * min(t / 4, 1)
        last = J @ (x - rate * last)
        x = x - rate * last
        state, _ = method.step(GAME, state, ({},))
        np.testing.assert_allclose(point(state.vectors), x, rtol=1e-13)
