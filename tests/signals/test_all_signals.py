"""Properties of all signals: finite numbers, and an unchanged game."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from detente import Adversarial, methods
from detente.errors import InvalidValue
from detente.games.conditional import Conditional
from detente.games.presets.images import digits
from detente.games.presets.points import ring
from detente.penalties.gradient_penalty import GradientPenalty
from detente.registry import members
from detente.rescuing.short_run import findings_of, short_run
from detente.signals.base import Signal
from detente.state import flatten
from tests.signals.conftest import Observe, artists, cross_entropy, mlp, plane, plane_game

SIGNALS: dict[str, Any] = members("signals")


class Labelled(nn.Module):
    """A network with an embedding of its labels."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.embedding, self.net = nn.Embedding(3, 2), mlp(4, 16, outputs)

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return self.net(torch.cat([x, self.embedding(label)], 1))


def labelled_game() -> Conditional:
    from detente.data.arrays import Arrays

    data = Arrays(plane(), torch.arange(1024) % 3)
    return Conditional(lambda: Labelled(2), lambda: Labelled(1), data, 2, batch=32)


def normalised_game() -> Adversarial:
    def generator() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))

    def discriminator() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.3), nn.LeakyReLU(0.2), nn.Linear(8, 1))

    return Adversarial(generator, discriminator, plane(), 2, batch=32)


GAMES: dict[str, Callable[[], Any]] = {
    "plane": plane_game,
    "penalty": lambda: plane_game(penalties=GradientPenalty()),
    "other names": lambda: artists(cross_entropy),
    "labels": labelled_game,
    "batch norm and dropout": normalised_game,
}


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("name", SIGNALS)
def test_values_are_finite_and_nothing_changes(observe: Observe, name: str, game: str) -> None:
    observation = observe(GAMES[game]())
    before = {key: tensor.clone() for key, tensor in observation.state.flat().items()}
    random = torch.get_rng_state()
    values = SIGNALS[name]()(observation)
    assert all(isinstance(value, float) and math.isfinite(value) for value in values.values())
    assert torch.equal(torch.get_rng_state(), random)
    for key, tensor in observation.state.flat().items():
        assert torch.equal(tensor, before[key]), key
    assert all(module.training for module in observation.game.modules.values())  # pyright: ignore
    assert SIGNALS[name]()(observe(observation.game)) == values


@pytest.mark.parametrize("name", SIGNALS)
def test_limits_must_not_be_negative(name: str) -> None:
    for field in vars(SIGNALS[name]()):
        with pytest.raises(InvalidValue, match=field):
            SIGNALS[name](**{field: -1.0})


@pytest.mark.parametrize("name", SIGNALS)
def test_an_empty_history_shows_nothing(past: Any, name: str) -> None:
    signal: Signal = SIGNALS[name]()
    assert list(signal.findings(past({}))) == []
    assert list(signal.findings(past({}, count=1))) == []


@pytest.mark.slow
@pytest.mark.parametrize("game", ["ring", "digits"])
def test_a_healthy_run_shows_nothing(game: str, tmp_path: Path) -> None:
    made, method, steps = {
        "ring": (ring, methods.alternating(learning_rate=1e-3), 400),
        "digits": (digits, methods.alternating(learning_rate=2e-4), 60),
    }[game]
    history = short_run(made(), method, tmp_path, steps, total=10 * steps)
    assert findings_of(history) == []
    assert {name.partition(".")[0] for name in history.values} >= {"spread", "separation", "slope", "rotation"}


def test_states_are_compared_whole() -> None:
    state = methods.alternating().initial(plane_game(), torch.Generator().manual_seed(0))
    assert set(flatten(state.tree())) == set(state.flat())
