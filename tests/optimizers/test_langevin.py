"""Samplers: stationary variances in closed form, covariance of the noise, corrections by thermostats."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from detente.fields.covariance import Covariance
from detente.games.adversarial import Adversarial
from detente.methods.method import Method
from detente.networks.mlp import MLP
from detente.optimizers.base import Optimizer
from detente.optimizers.ccadl import CCADL
from detente.optimizers.langevin import Langevin
from detente.optimizers.sgd import SGD
from detente.optimizers.sgld import SGLD
from detente.optimizers.sgnht import SGNHT
from detente.schedules import Linear
from detente.schemes.alternating import Alternating
from detente.training.step import draw

STIFFNESS = 2.0  # k of L = k θ²/2, whose density ∝ exp(−L/T) has the variance T/k
NOW = torch.tensor(0)


def matrix(size: int = 4) -> Tensor:
    """Return a covariance of full rank."""
    root = torch.randn(size, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return root @ root.T + 0.1 * torch.eye(size, dtype=torch.float64)


def sampled(
    optimizer: Optimizer,
    noise: Callable[[torch.Generator], Tensor] | None,
    covariance: Tensor | None = None,
    count: int = 3000,
    steps: int = 1000,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return each coordinate's mean square over the last half of a run from zero, (count,), and the last memory.

    Args:
        optimizer: moves `count` independent coordinates, each with L = k θ²/2.
        noise: of the gradients, (count,).
        covariance: of that noise, as passed to the optimizer.
        count: of the coordinates.
        steps: how many.
    """
    generator = torch.Generator().manual_seed(0)
    vector, total = torch.zeros(count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
    memory = optimizer.initial(vector)
    known = {} if covariance is None else {"covariance": covariance}
    for step in range(steps):
        direction = STIFFNESS * vector + (noise(generator) if noise else 0.0)
        normal = torch.randn(count, generator=generator, dtype=torch.float64)
        vector, memory = optimizer(vector, direction, memory | known, NOW, normal)
        if step >= steps // 2:
            total = total + vector.square() / (steps - steps // 2)
    return total, memory


@pytest.mark.parametrize("rate", [0.02, 0.4])
def test_sgld_has_the_variance_of_the_discretised_process(rate: float) -> None:
    """θ ← (1 − εk) θ + √(2εT) η has the stationary variance 2εT/(1 − (1 − εk)²) = T/k · 1/(1 − εk/2)."""
    temperature = 0.3
    expected = temperature / STIFFNESS / (1 - rate * STIFFNESS / 2)
    variances, _ = sampled(SGLD(rate, temperature), None)
    assert abs(float(variances.mean()) / expected - 1) < 0.02
    assert expected > 1.01 * temperature / STIFFNESS


def test_langevin_with_unit_covariance_equals_sgld() -> None:
    """With I_t = 1, T and s enter as one factor."""
    vector, direction, noise = matrix(3)
    ones = {"covariance": torch.ones(3, dtype=torch.float64)}
    white, _ = SGLD(0.1, 0.06)(vector, direction, {}, NOW, noise)
    for temperature, scale in ((0.06, 1.0), (1.0, 0.06), (0.3, 0.2)):
        coloured, memory = Langevin(0.1, temperature, scale)(vector, direction, ones, NOW, noise)
        torch.testing.assert_close(coloured, white, rtol=1e-12, atol=0)
        assert memory == {}


@pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])
def test_langevins_noise_has_the_covariance(full: bool) -> None:
    """The move is linear in η: θ' = θ − εv + M η, and M Mᵀ = 2εTs I_t."""
    covariance = matrix() if full else matrix().diagonal()
    optimizer = Langevin(0.1, 0.5, 0.2, jitter=0.0)
    vector, direction = matrix()[0], matrix()[1]
    units = torch.eye(4, dtype=torch.float64)
    moves = [optimizer(vector, direction, {"covariance": covariance}, NOW, unit)[0] for unit in units]
    root = torch.stack([move - (vector - 0.1 * direction) for move in moves], 1)
    expected = 2 * 0.1 * 0.5 * 0.2 * (covariance if full else torch.diag(covariance))
    torch.testing.assert_close(root @ root.T, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_of_a_rank_deficient_covariance_stays_in_its_range(dtype: torch.dtype) -> None:
    """Few samples of many parameters: the noise stays in their directions, but for the jitter; also without any."""
    few = torch.randn(5, 40, generator=torch.Generator().manual_seed(0)).to(dtype)
    for covariance in (few.T @ few, torch.zeros(40, 40, dtype=dtype)):
        zero = torch.zeros(40, dtype=dtype)
        units = torch.eye(40, dtype=dtype)
        root = torch.stack([Langevin(0.5)(zero, zero, {"covariance": covariance}, NOW, unit)[0] for unit in units], 1)
        assert root.dtype == dtype and bool(root.isfinite().all())
        torch.testing.assert_close(root @ root.T, covariance, rtol=0, atol=1e-5 * float(covariance.trace()) + 1e-30)


HOT = 3.0  # deviation of the gradients' noise
STEP, FRICTION, TEMPERATURE = 0.05, 1.0, 0.5
HEAT = STEP * HOT**2 / (2 * TEMPERATURE)  # the friction hσ²/2T that this noise asks for: 0.45


def variance(friction: float) -> float:
    """Return T/k (1 − hf/2), that of θ ← θ + hp for momenta of variance T under the friction f.

    In a stationary state θ and p have the covariance hT/2 before a kick and −hT/2 after it, so that
    −hT/2 = (1 − hf) hT/2 − hk Var(θ).
    """
    return TEMPERATURE / STIFFNESS * (1 - STEP * friction / 2)


def white(generator: torch.Generator) -> Tensor:
    return HOT * torch.randn(3000, generator=generator, dtype=torch.float64)


def test_sgnht_corrects_for_white_noise_of_unknown_size() -> None:
    """The thermostat finds the friction A + hσ²/2T by itself; with A alone, variances would be 45% too large."""
    variances, memory = sampled(SGNHT(STEP, FRICTION, TEMPERATURE), white)
    assert abs(float(variances.mean()) / variance(FRICTION + HEAT) - 1) < 0.02
    assert abs(float(memory["thermostat"]) / (FRICTION + HEAT) - 1) < 0.1


EVEN = torch.arange(3000) % 2 == 0


def half(generator: torch.Generator) -> Tensor:
    """Return noise on every other coordinate."""
    return torch.where(EVEN, white(generator), 0.0)


@pytest.mark.parametrize("samples", [1, 8])
def test_ccadl_corrects_for_noise_that_differs_between_coordinates(samples: int) -> None:
    """Σ = I_t/B is what dissipates it, so that ξ stays at A; a thermostat alone corrects only for the mean."""
    covariance = torch.where(EVEN, samples * HOT**2, 0.0).double()
    variances, memory = sampled(CCADL(STEP, FRICTION, TEMPERATURE, samples), half, covariance)
    for part in (variances[EVEN], variances[~EVEN]):
        assert abs(float(part.mean()) / variance(FRICTION + HEAT / 2) - 1) < 0.02
    assert abs(float(memory["thermostat"]) / FRICTION - 1) < 0.1


def test_a_thermostat_alone_corrects_only_for_the_mean_noise() -> None:
    variances, _ = sampled(SGNHT(STEP, FRICTION, TEMPERATURE), half)
    assert float(variances[EVEN].mean()) > 1.1 * variance(FRICTION + HEAT / 2) > 1.2 * float(variances[~EVEN].mean())


def test_ccadl_with_a_full_covariance() -> None:
    vector, momentum, noise, direction = matrix()
    optimizer = CCADL(0.1, 0.7, 0.4, 3)
    memory = {"momentum": momentum, "thermostat": torch.tensor(0.9).double(), "covariance": matrix()}
    moved, after = optimizer(vector, direction, memory, NOW, noise)
    drag = 0.1 * 0.1 / (2 * 0.4) * (matrix() / 3) @ momentum
    p = momentum - 0.1 * direction - drag - 0.1 * 0.9 * momentum + (2 * 0.7 * 0.4 * 0.1) ** 0.5 * noise
    torch.testing.assert_close((after["momentum"], moved), (p, vector + 0.1 * p))
    torch.testing.assert_close(after["thermostat"], 0.9 + 0.1 * (p @ p / 4 - 0.4))
    diagonal = torch.diag(matrix().diagonal())
    both = [
        optimizer(vector, direction, memory | {"covariance": c}, NOW, noise) for c in (diagonal, diagonal.diagonal())
    ]
    torch.testing.assert_close(both[0], both[1])


def test_ccadl_without_covariance_is_sgnht() -> None:
    vector, momentum, noise, direction = matrix()
    memory = {"momentum": momentum, "thermostat": torch.tensor(0.9).double()}
    without = CCADL(0.1, 0.7, 0.4)(vector, direction, memory | {"covariance": 0 * vector}, NOW, noise)
    torch.testing.assert_close(without, SGNHT(0.1, 0.7, 0.4)(vector, direction, memory, NOW, noise))


@pytest.mark.parametrize("make", [SGLD, Langevin, SGNHT, CCADL])
def test_steps_are_functions_of_their_noise_and_read_schedules(make: Callable[..., Optimizer]) -> None:
    vector, direction, noise, covariance = matrix().abs()
    falling = make(Linear(0.3, 0.1, 10))
    memory = falling.initial(vector) | {"covariance": covariance}
    late = torch.tensor(10)
    first, again = (falling(vector, direction, memory, late, noise)[0] for _ in range(2))
    assert torch.equal(first, again)
    torch.testing.assert_close(first, make(0.1)(vector, direction, memory, late, noise)[0], rtol=1e-6, atol=0)
    assert not torch.equal(first, falling(vector, direction, memory, NOW, noise)[0])
    assert not torch.equal(first, falling(vector, direction, memory, late, -noise)[0])


def test_every_turn_has_independent_noise() -> None:
    generator, discriminator = MLP(3, 2, 4, 1).double(), MLP(2, 1, 4, 1).double()
    data = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    game = Adversarial(generator, discriminator, data, 3, batch=4)
    players = {"generator": SGD(0.05), "discriminator": Langevin(0.05)}
    play = Method(Covariance(), Alternating(turns={"discriminator": 2}), players)
    state = play.initial(game, torch.Generator().manual_seed(0))
    drawn = draw(game, play, state, torch.Generator().manual_seed(1))
    first, second, _ = (turn["discriminator"] for turn in drawn.noise)
    assert all(set(turn) == {"discriminator"} for turn in drawn.noise) and not torch.equal(first, second)
    after, info = play.step(game, state, drawn.batches, drawn.noise)
    assert int(after.memory["field"]["count"]["discriminator"]) == 2 and "noise_level" in info.extra
    for turn in (0, 1):
        changed = tuple({"discriminator": -n["discriminator"]} if i == turn else n for i, n in enumerate(drawn.noise))
        other, _ = play.step(game, state, drawn.batches, changed)
        assert not torch.equal(other.vectors["discriminator"], after.vectors["discriminator"])
