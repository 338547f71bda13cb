"""Schedules against their formulas in Python's floats, in float64 games, and bit for bit as before in float32 games."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from detente.filters.gaussian_smoothing import GaussianSmoothing
from detente.games.quadratic import Quadratic
from detente.methods import names
from detente.methods.method import Method
from detente.optimizers.adam import Adam
from detente.optimizers.base import Optimizer
from detente.optimizers.ccadl import CCADL
from detente.optimizers.langevin import Langevin
from detente.optimizers.momentum import Momentum
from detente.optimizers.optimistic_adam import OptimisticAdam
from detente.optimizers.rmsprop import RMSprop, RMSpropTensorflow
from detente.optimizers.sgd import SGD
from detente.optimizers.sgld import SGLD
from detente.optimizers.sgnht import SGNHT
from detente.schedules import Annealed, Cosine, Exponential, Linear, Schedule, value

FORMULAS: dict[str, tuple[Schedule, Callable[[int], float]]] = {
    "linear": (Linear(0.1, 0.013, 7), lambda t: 0.1 + (0.013 - 0.1) * min(t / 7, 1)),
    "cosine": (Cosine(0.3, 0.01, 9), lambda t: 0.01 + (0.3 - 0.01) * 0.5 * (1 + math.cos(math.pi * min(t / 9, 1)))),
    "exponential": (Exponential(0.1, 0.37, 3), lambda t: 0.1 * 0.37 ** (t / 3)),
    "annealed": (Annealed(4.0, 5), lambda t: 1 / (4 + math.exp((t / 5) ** 2))),
}
OPTIMIZERS = [SGD, Momentum, RMSprop, RMSpropTensorflow, Adam, OptimisticAdam, SGLD, SGNHT, CCADL, Langevin]
every_schedule = pytest.mark.parametrize("name", FORMULAS)


@every_schedule
def test_values_equal_the_formula_in_float64(name: str) -> None:
    schedule, formula = FORMULAS[name]
    for t in (*range(12), 100):
        actual = value(schedule, torch.tensor(t), torch.float64)
        assert isinstance(actual, Tensor) and actual.dtype == torch.float64
        assert float(actual) == pytest.approx(formula(t), rel=1e-14)


@every_schedule
@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
def test_values_in_other_precisions_equal_golden_values(name: str, dtype: torch.dtype | None) -> None:
    """Golden values: written in float32 by the formulas as they were before float64 was treated separately."""
    schedule, _ = FORMULAS[name]
    for t in range(12):
        whole = torch.tensor(t)
        before = {
            "linear": 0.1 + (0.013 - 0.1) * (whole / 7).clamp(max=1.0),
            "cosine": 0.01 + (0.3 - 0.01) * 0.5 * (1 + torch.cos(math.pi * (whole / 9).clamp(max=1.0))),
            "exponential": 0.1 * torch.exp(math.log(0.37) * whole / 3),
            "annealed": 1 / (4.0 + torch.exp((whole / 5) ** 2)),
        }
        actual = value(schedule, whole, dtype)
        assert isinstance(actual, Tensor) and actual.dtype == torch.float32 and torch.equal(actual, before[name])


class Steps(Schedule):
    """A user's own schedule, which looks its values up."""

    def __call__(self, t: Tensor) -> Tensor:
        return torch.tensor([0.1, 0.2, 0.3])[t]


def test_a_custom_schedule_gets_whole_steps() -> None:
    assert float(value(Steps(), torch.tensor(1), torch.float64)) == pytest.approx(0.2)  # pyright: ignore


def walk(optimizer: Optimizer, rates: Callable[[int], Optimizer], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return where a scheduled optimizer ends, and where optimizers with each step's constant rate do."""
    vectors = []
    for scheduled in (True, False):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(30, generator=generator, dtype=dtype)
        memory = optimizer.initial(x)
        for t in range(9):
            direction, noise = (torch.randn(30, generator=generator, dtype=dtype) for _ in range(2))
            if optimizer.needs_covariance:
                memory = {**memory, "covariance": torch.rand(30, generator=generator, dtype=dtype)}
            now = optimizer if scheduled else rates(t)
            x, memory = now(x, direction, memory, torch.tensor(t), noise)
            assert x.dtype == dtype
        vectors.append(x)
    return vectors[0], vectors[1]


@every_schedule
@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_optimizers_of_float64_vectors_use_the_float64_rate(kind: type, name: str) -> None:
    schedule, formula = FORMULAS[name]
    actual, expected = walk(kind(schedule), lambda t: kind(formula(t)), torch.float64)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", [SGLD, SGNHT, CCADL, Langevin], ids=lambda kind: kind.__name__)
def test_scheduled_temperatures_are_evaluated_in_float64(kind: type) -> None:
    schedule, formula = FORMULAS["linear"]
    actual, expected = walk(
        kind(0.01, temperature=schedule), lambda t: kind(0.01, temperature=formula(t)), torch.float64
    )
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", [SGD, Momentum, RMSprop, RMSpropTensorflow, SGLD], ids=lambda kind: kind.__name__)
def test_optimizers_of_float32_vectors_use_the_float32_rate(kind: type) -> None:
    schedule = FORMULAS["cosine"][0]
    actual, expected = walk(kind(schedule), lambda t: kind(float(schedule(torch.tensor(t)))), torch.float32)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["simultaneous", "alternating", "extragradient"])
def test_training_of_a_float64_game_equals_numpy(name: str) -> None:
    """On L = x²/2 every evaluation of the field is exact, so that only the rates could be wrong."""
    game = Quadratic([[1.0]], [[0.0]], [[1.0]])
    schedule, formula = FORMULAS["linear"]
    method: Method = names()[name](optimizer=SGD(schedule))
    vectors, buffers = game.initial(torch.Generator().manual_seed(1))
    state = method.beginning(game, vectors, buffers, torch.Generator())
    expected = float(vectors["x"][0])
    for t in range(9):
        state, _ = method.step(game, state, tuple({} for _ in range(method.draws(game))))
        rate = formula(t)
        expected *= 1 - rate * (1 - rate) if name == "extragradient" else 1 - rate
    assert state.vectors["x"].dtype == torch.float64
    assert float(state.vectors["x"][0]) == pytest.approx(expected, rel=1e-14)


def test_strengths_of_filters_follow_schedules() -> None:
    schedule, formula = FORMULAS["linear"]
    (strength,) = GaussianSmoothing(schedule).at(torch.tensor(3), torch.float64)
    assert float(strength) == pytest.approx(formula(3), rel=1e-15)
    (single,) = GaussianSmoothing(schedule).at(torch.tensor(3), torch.float32)
    assert isinstance(single, Tensor) and torch.equal(single, schedule(torch.tensor(3)))
