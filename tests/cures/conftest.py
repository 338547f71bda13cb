"""Failing GANs for the tests of cures, and what each changed one must do."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from detente import Adversarial, Networks, methods
from detente.checks.base import Finding
from detente.checks.switch import off
from detente.cures.base import Case, Change
from detente.games.gan import gan_of
from detente.methods.method import Method
from detente.training.step import Steps, draw


def generator() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))


def discriminator() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(), nn.Linear(8, 1))


def points(count: int = 256, offset: float = 0.0, scale: float = 1.0) -> Tensor:
    return offset + scale * torch.randn(count, 2, generator=torch.Generator().manual_seed(0))


def losses(net: Any, batch: Any) -> dict[str, Any]:
    fake = net.maker(torch.randn(len(batch["real"]), 3))
    judged = softplus(-net.judge(batch["real"])).mean() + softplus(net.judge(fake)).mean()
    return {"judge": judged, "maker": softplus(-net.judge(fake)).mean()}


def make_game(kind: str = "adversarial", **changes: Any) -> Any:
    """Return a small GAN: of points ("adversarial"), with custom losses ("networks"), or of images ("images")."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "networks":
            players = {"judge": changes.pop("judge", discriminator()), "maker": generator}
            return Networks(players, losses, changes.pop("data", points()), **{"batch": 16, **changes})
        if kind == "images":
            maker = nn.Sequential(nn.Linear(3, 64), nn.Unflatten(1, (1, 8, 8)), nn.Tanh())

            def judge() -> nn.Module:
                layers = nn.Conv2d(1, 4, 3, 2), nn.BatchNorm2d(4), nn.LeakyReLU(), nn.Flatten(), nn.LazyLinear(1)
                return nn.Sequential(*layers)

            data = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
            return Adversarial(maker, judge, data, 3, **{"batch": 16, **changes})
        given = {"generator": generator, "discriminator": discriminator, "data": points(), "latent": 3, "batch": 16}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Adversarial(**{**given, **changes})


def make_case(
    *failures: str, game: Any = None, method: Method | None = None, steps: int = 1000, sure: float = 0.9
) -> Case:
    """Return a case with findings of these failures."""
    game = make_game() if game is None else game
    findings = [Finding(failure, "It fails.", sure, "Change it.") for failure in failures]
    return Case(game, method or methods.alternating(learning_rate=1e-3), gan_of(game), findings, steps)


def train(game: Any, method: Method, steps: int = 2) -> Any:
    """Train two steps; all numbers must be finite."""
    method = method.playing(game)
    source = torch.Generator().manual_seed(0)
    state, runner = method.initial(game, source), Steps(game, method)
    for _ in range(steps):
        state = method.prepare(game, state, source)
        (state,), (info,) = runner([state], [[draw(game, method, state, source)]])
        assert bool(info.finite.all())
    return state


@pytest.fixture(autouse=True)
def _no_checks() -> Iterator[None]:
    """Failing GANs are the subject here, so nothing warns of them."""
    with off():
        yield


@pytest.fixture
def case() -> Callable[..., Case]:
    """Return `make_case`."""
    return make_case


@pytest.fixture
def game() -> Callable[..., Any]:
    """Return `make_game`."""
    return make_game


@pytest.fixture
def trains() -> Callable[[Case, Change | None], Any]:
    """Return a function that applies a change, trains two steps, and returns the changed game and method."""

    def check(case: Case, change: Change | None) -> Any:
        assert change is not None
        changed, method = change.apply(case.game, case.method)
        train(changed, method)
        return changed, method

    return check
