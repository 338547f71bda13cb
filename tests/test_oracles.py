"""Oracles: optimizers against torch.optim and numpy, schemes against numpy, training against hand-written loops."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from detente import methods
from detente.fields.smoothing import Smoothing
from detente.games.adversarial import Adversarial
from detente.games.quadratic import Quadratic
from detente.methods.method import Method
from detente.networks.dcgan import DcganDiscriminator, DcganGenerator
from detente.networks.mlp import MLP
from detente.optimizers.adam import Adam
from detente.optimizers.base import Optimizer
from detente.optimizers.clipped import Clipped
from detente.optimizers.momentum import Momentum
from detente.optimizers.rmsprop import RMSprop, RMSpropTensorflow
from detente.optimizers.sgd import SGD
from detente.schedules import Cosine, Exponential, Linear, Schedule
from detente.schemes.simultaneous import Simultaneous
from detente.training.step import draw

RATE = 0.03
PAIRS: dict[str, tuple[Optimizer, Callable[[list[Tensor]], torch.optim.Optimizer]]] = {
    "sgd": (SGD(RATE), lambda p: torch.optim.SGD(p, RATE)),
    "momentum": (Momentum(RATE, 0.8), lambda p: torch.optim.SGD(p, RATE, momentum=0.8)),
    "nesterov": (Momentum(RATE, 0.8, nesterov=True), lambda p: torch.optim.SGD(p, RATE, momentum=0.8, nesterov=True)),
    "rmsprop": (RMSprop(RATE, 0.95, 1e-6), lambda p: torch.optim.RMSprop(p, RATE, 0.95, 1e-6)),
    "adam": (Adam(RATE), lambda p: torch.optim.Adam(p, RATE, (0.5, 0.999))),
    "adam_other": (Adam(RATE, (0.0, 0.9), 1e-3), lambda p: torch.optim.Adam(p, RATE, (0.0, 0.9), 1e-3)),
}


def slope(dtype: torch.dtype) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Return the gradient of a random quadratic in five numbers, and where to start."""
    generator = torch.Generator().manual_seed(7)
    root = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    matrix, shift = (root @ root.T / 5).to(dtype), torch.randn(5, generator=generator, dtype=torch.float64).to(dtype)
    return lambda x: matrix @ x - shift, torch.randn(5, generator=generator, dtype=torch.float64).to(dtype)


def walk(optimizer: Optimizer, dtype: torch.dtype, steps: int = 50) -> Tensor:
    gradient, x = slope(dtype)
    memory, path = optimizer.initial(x), []
    for t in range(steps):
        x, memory = optimizer(x, gradient(x), memory, torch.tensor(t))
        path.append(x)
    return torch.stack(path)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", PAIRS)
def test_optimizers_equal_torch_optim(name: str, dtype: torch.dtype) -> None:
    member, torch_optimizer = PAIRS[name]
    gradient, x = slope(dtype)
    path = []
    optimizer = torch_optimizer([x])
    for _ in range(50):
        x.grad = gradient(x)
        optimizer.step()
        path.append(x.clone())
    tolerance = 1e-12 if dtype == torch.float64 else 2e-6
    torch.testing.assert_close(walk(member, dtype), torch.stack(path), rtol=tolerance, atol=tolerance)


def test_tensorflows_rmsprop_equals_numpy() -> None:
    gradient, start = slope(torch.float64)
    x, s, path = start.numpy(), np.ones(5), []
    for _ in range(30):
        g = gradient(torch.tensor(x)).numpy()
        s = 0.9 * s + 0.1 * g * g
        x = x - RATE * g / np.sqrt(s + 1e-10)
        path.append(x)
    actual = walk(RMSpropTensorflow(RATE), torch.float64, 30)
    np.testing.assert_allclose(actual.numpy(), np.stack(path), rtol=1e-12)


def test_the_first_steps_of_the_two_rmsprops() -> None:
    """About η/√(1−α) whatever the slope in PyTorch; about η times a small slope in TensorFlow 1."""
    x, small, t = torch.zeros(1).double(), torch.full((1,), 1e-3, dtype=torch.float64), torch.tensor(0)
    torch_, tensorflow = RMSprop(1.0), RMSpropTensorflow(1.0)
    assert float(-torch_(x, small, torch_.initial(x), t)[0]) == pytest.approx(10, rel=1e-3)
    first = float(-tensorflow(x, small, tensorflow.initial(x), t)[0])
    assert first == pytest.approx(1e-3 / math.sqrt(0.9 + 1e-7 + 1e-10), rel=1e-9)


def test_clipping_is_applied_after_the_wrapped_step() -> None:
    gradient, start = slope(torch.float64)
    x, path = start.numpy(), []
    for _ in range(10):
        x = np.clip(x - RATE * gradient(torch.tensor(x)).numpy(), -0.2, 0.2)
        path.append(x)
    np.testing.assert_allclose(walk(Clipped(SGD(RATE), 0.2), torch.float64, 10).numpy(), np.stack(path), rtol=1e-12)
    assert (np.abs(path[-1]) == 0.2).any(), "the bound is reached"
    assert set(Clipped(Adam()).initial(start)) == set(Adam().initial(start))


SCHEDULES: list[tuple[Schedule, Callable[[float], float]]] = [
    (Linear(1.0, 0.2, 10), lambda t: 1 - 0.8 * min(t / 10, 1)),
    (Cosine(1.0, 0.2, 10), lambda t: 0.2 + 0.4 * (1 + math.cos(math.pi * min(t / 10, 1)))),
    (Exponential(2.0, 0.5, 4), lambda t: 2 * 0.5 ** (t / 4)),
]


@pytest.mark.parametrize(("schedule", "formula"), SCHEDULES, ids=["linear", "cosine", "exponential"])
def test_schedules(schedule: Schedule, formula: Callable[[float], float]) -> None:
    for t in (0, 1, 5, 10, 25):
        assert float(schedule(torch.tensor(t))) == pytest.approx(formula(t), rel=1e-6)


@pytest.mark.parametrize("kind", [SGD, Momentum, RMSprop, RMSpropTensorflow, Adam], ids=lambda kind: kind.__name__)
def test_a_scheduled_rate_is_used_at_each_step(kind: type) -> None:
    schedule = Linear(0.1, 0.01, 5)
    gradient, x = slope(torch.float64)
    scheduled, memory = kind(schedule), kind(schedule).initial(x)
    for t in range(7):
        constant = kind(float(schedule(torch.tensor(t))))
        expected, _ = constant(x, gradient(x), memory, torch.tensor(t))
        x, memory = scheduled(x, gradient(x), memory, torch.tensor(t))
        torch.testing.assert_close(x, expected, rtol=1e-6, atol=1e-8)


# Schemes on a quadratic game, with Momentum as an optimizer that has a memory, against loops in numpy.

J = np.array([[0.5, 0.3, 1.0], [0.3, 0.8, -0.4], [-0.7, 0.2, 0.6]])
GAME = Quadratic(torch.tensor(J[:2, :2]), torch.tensor(J[:2, 2:]), torch.tensor(J[2:, 2:]), torch.tensor(J[2:, :2]))
X, Y = np.array([True, True, False]), np.array([False, False, True])
H, MU = 0.1, 0.6


class HeavyBall:
    """x ← x − η(μm + g), remembered for some coordinates at a time."""

    def __init__(self) -> None:
        self.m = np.zeros(3)

    def __call__(self, x: np.ndarray, g: np.ndarray, who: np.ndarray = X | Y) -> np.ndarray:
        self.m = np.where(who, MU * self.m + g, self.m)
        return np.where(who, x - H * self.m, x)


def by_hand(name: str, x: np.ndarray, steps: int) -> np.ndarray:
    move, last = HeavyBall(), None
    for _ in range(steps):
        if name == "simultaneous":
            x = move(x, J @ x)
        elif name == "alternating":
            x = move(x, J @ x, Y)
            x = move(x, J @ x, X)
        elif name == "extragradient":
            x = move(x, J @ move(x, J @ x))
        elif name == "consensus":
            x = move(x, J @ x + 0.4 * J.T @ J @ x)
        elif name == "optimistic":
            g = J @ x
            x, last = move(x, 2 * g - (g if last is None else last)), g
        elif name == "past_extragradient":
            trial = x - H * move.m  # the last move again
            x = move(x, J @ trial)
    return x


@pytest.mark.parametrize(
    "name", ["simultaneous", "alternating", "extragradient", "consensus", "optimistic", "past_extragradient"]
)
def test_schemes_equal_numpy(name: str) -> None:
    settings: dict[str, Any] = {"strength": 0.4} if name == "consensus" else {}
    method = methods.names()[name](optimizer=Momentum(H, MU), **settings)
    vectors, buffers = GAME.initial(torch.Generator().manual_seed(1))
    state = method.beginning(GAME, vectors, buffers, torch.Generator())
    start = torch.cat([vectors["x"], vectors["y"]]).numpy()
    for steps in range(1, 6):
        state, _ = method.step(GAME, state, tuple({} for _ in range(method.draws(GAME))))
        actual = torch.cat([state.vectors["x"], state.vectors["y"]]).numpy()
        np.testing.assert_allclose(actual, by_hand(name, start, steps), rtol=1e-12, atol=1e-14)
    assert int(state.t) == 5


def test_smoothing_equals_numpy() -> None:
    """The paper's ½‖v‖² and the code's ½‖v_x‖², for y alone."""
    vectors, buffers = GAME.initial(torch.Generator().manual_seed(1))
    start = torch.cat([vectors["x"], vectors["y"]]).numpy()
    v = J @ start
    pulls = {"paper": J.T @ v, "code": J.T @ np.where(X, v, 0)}
    for definition, pull in pulls.items():
        method = Method(Smoothing(0.4, definition, player="y"), Simultaneous(), SGD(H))  # type: ignore[arg-type]
        state, _ = method.step(GAME, method.beginning(GAME, vectors, buffers, torch.Generator()), ({},))
        actual = torch.cat([state.vectors["x"], state.vectors["y"]]).numpy()
        np.testing.assert_allclose(actual, start - H * (v + 0.4 * np.where(Y, pull, 0)), rtol=1e-12)


# Alternating training against the loop that everybody writes.


def gans() -> dict[str, tuple[nn.Module, nn.Module, Tensor, int]]:
    generator = torch.Generator().manual_seed(5)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        points = MLP(4, 2, 16, 2), MLP(2, 1, 16, 2), torch.randn(64, 2, generator=generator), 4
        pixels = 2 * torch.rand(32, 1, 28, 28, generator=generator) - 1
        images = (
            DcganGenerator(latent=8, channels=1, size=28, width=4),
            DcganDiscriminator(channels=1, size=28, width=4),
            pixels,
            8,
        )
    return {"mlp": points, "dcgan": images}


@pytest.mark.parametrize("network", ["mlp", "dcgan"])
def test_alternating_adam_equals_the_hand_written_loop(network: str) -> None:
    first, second, data, latent = gans()[network]
    game = Adversarial(first.double(), second.double(), data, latent, batch=8)
    method = methods.alternating()
    generator = torch.Generator().manual_seed(3)
    vectors, buffers = game.initial(generator)
    state = method.beginning(game, vectors, buffers, torch.Generator())

    g, d = copy.deepcopy(first), copy.deepcopy(second)
    assert g.training and d.training
    g_optimizer = torch.optim.Adam(g.parameters(), 2e-4, (0.5, 0.999))
    d_optimizer = torch.optim.Adam(d.parameters(), 2e-4, (0.5, 0.999))
    for _ in range(5):
        drawn = draw(game, method, state, generator)
        state, info = method.step(game, state, drawn.batches, drawn.noise)

        first_batch, second_batch = drawn.batches
        real, fake = d(first_batch["real"].double()).reshape(-1), d(g(first_batch["latent"].double())).reshape(-1)
        d_loss = binary_cross_entropy_with_logits(real, torch.ones_like(real))
        d_loss = d_loss + binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()
        fake = d(g(second_batch["latent"].double())).reshape(-1)
        g_loss = binary_cross_entropy_with_logits(fake, torch.ones_like(fake))
        g_optimizer.zero_grad()
        g_loss.backward()
        g_optimizer.step()

        losses = {"discriminator": d_loss.detach(), "generator": g_loss.detach()}
        torch.testing.assert_close(info.losses, losses, rtol=1e-10, atol=1e-12)
        norm = torch.cat([p.grad.reshape(-1) for p in g.parameters() if p.grad is not None]).norm()
        torch.testing.assert_close(info.gradient_norm["generator"], norm, rtol=1e-8, atol=1e-12)
    trained = copy.deepcopy(first), copy.deepcopy(second)
    game.write(state, *trained)
    for module, expected in zip(trained, (g, d), strict=True):
        assert any(not torch.equal(a, b) for a, b in zip(module.parameters(), first.parameters(), strict=False))
        torch.testing.assert_close(dict(module.state_dict()), dict(expected.state_dict()), rtol=1e-9, atol=1e-9)
