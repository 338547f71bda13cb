"""Optimistic Adam against numpy, against Adam's own moves, and on the bilinear game."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detente import methods
from detente.errors import InvalidValue
from detente.fields.gradient import Gradient
from detente.games.quadratic import Bilinear
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.optimizers.base import Optimizer
from detente.optimizers.optimistic_adam import OptimisticAdam
from detente.schedules import Linear
from detente.schemes.extragradient import Extragradient
from detente.schemes.simultaneous import Simultaneous

RATE, BETAS, EPSILON = 0.03, (0.5, 0.9), 1e-6


def slope(x: np.ndarray) -> np.ndarray:
    return np.array([[2.0, 0.4, 0.0], [-0.4, 1.0, 0.3], [0.0, -0.3, 0.1]]) @ x - np.array([1.0, 0.0, -0.2])


def walk(optimizer: Optimizer, steps: int, dtype: torch.dtype = torch.float64) -> np.ndarray:
    x = torch.tensor([1.0, -2.0, 0.5], dtype=dtype)
    memory, path = optimizer.initial(x), []
    for t in range(steps):
        x, memory = optimizer(x, torch.tensor(slope(x.numpy()), dtype=dtype), memory, torch.tensor(t))
        path.append(x.numpy())
    return np.stack(path)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)], ids=str)
def test_steps_equal_numpy(dtype: torch.dtype, tolerance: float) -> None:
    """The rule is x ← x − 2 a_t + a_{t−1}, the first step plain; the lag is one step."""
    x, m, s, last, path = np.array([1.0, -2.0, 0.5]), np.zeros(3), np.zeros(3), None, []
    for t in range(1, 26):
        g = slope(x)
        m, s = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * s + (1 - BETAS[1]) * g * g
        move = RATE * (m / (1 - BETAS[0] ** t)) / (np.sqrt(s / (1 - BETAS[1] ** t)) + EPSILON)
        x = x - 2 * move + (move if last is None else last)
        last = move
        path.append(x)
    actual = walk(OptimisticAdam(RATE, BETAS, EPSILON), 25, dtype)
    np.testing.assert_allclose(actual, np.stack(path), rtol=tolerance, atol=tolerance)


def test_the_first_step_equals_adam_and_memory_holds_adams_moves() -> None:
    np.testing.assert_allclose(
        walk(OptimisticAdam(RATE, BETAS, EPSILON), 1), walk(Adam(RATE, BETAS, EPSILON), 1), rtol=1e-12
    )
    x, t = torch.tensor([1.0, -2.0]).double(), torch.tensor(0)
    optimistic, adam = OptimisticAdam(RATE, BETAS), Adam(RATE, BETAS)
    memory, other = optimistic.initial(x), adam.initial(x)
    for step in range(5):
        direction = torch.tensor([np.cos(step), np.sin(2 * step) + 1.5])
        moved, other = adam(x, direction, other, t)
        _, memory = optimistic(x, direction, memory, t)
        torch.testing.assert_close(memory["last"], x - moved, rtol=1e-10, atol=1e-14)


def test_a_schedule_is_read_at_each_step() -> None:
    """The previous update is remembered with the learning rate of its step."""
    scheduled, x = OptimisticAdam(Linear(0.1, 0.0, 2)), torch.ones(1).double()
    memory = scheduled.initial(x)
    first, memory = scheduled(x, torch.ones(1).double(), memory, torch.tensor(0))
    second, memory = scheduled(first, torch.ones(1).double(), memory, torch.tensor(1))
    assert float(first) == pytest.approx(1 - 0.1) and float(second) == pytest.approx(0.9 - 2 * 0.05 + 0.1)


def test_its_limit_cycle_is_less_than_a_third_of_adams() -> None:
    """Both end in a cycle around the bilinear game's solution, for a step of Adam's hardly shrinks with the slope."""
    game, lengths = Bilinear(start=(1.0, 0.5)), []
    for optimizer in (OptimisticAdam(0.03, (0.0, 0.9)), Adam(0.03, (0.0, 0.9))):
        method = Method(Gradient(), Simultaneous(), optimizer)
        state, path = method.initial(game, torch.Generator()), []
        for _ in range(500):
            state, _ = method.step(game, state, ({},))
            path.append(float(torch.cat([state.vectors["x"], state.vectors["y"]]).norm()))
        lengths.append(max(path[400:]))
    assert lengths[0] < 0.1 and lengths[0] < lengths[1] / 3


def test_the_published_methods() -> None:
    assert methods.optimistic_adam().optimizer == OptimisticAdam(1e-4, (0.5, 0.9))
    assert methods.optimistic_adam(0.1, (0.0, 0.9)).optimizer == OptimisticAdam(0.1, (0.0, 0.9))
    extra = methods.extra_adam()
    assert extra.scheme == Extragradient()
    assert extra.optimizer == {"generator": Adam(5e-5, (0.5, 0.9)), "discriminator": Adam(5e-4, (0.5, 0.9))}
    assert methods.extra_adam(0.1).optimizer == Adam(0.1, (0.5, 0.9))
    with pytest.raises(InvalidValue, match="learning_rate"):
        methods.optimistic_adam(-1.0)
