"""The six games of examples/: each takes the steps of an ordinary training loop, and its file runs."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import detente
from benchmarks.games_by_hand import LOOPS
from detente import methods

EXAMPLES = Path(__file__).parents[2] / "examples"
SETTINGS = {"vq_autoencoder": {"start": 2, "ramp": 2}, "domain_adversarial": {"ramp": 2}}  # within the first five steps


@pytest.fixture
def example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return a file of examples/ as a module, as a user in that folder imports it."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delitem(sys.modules, request.param, raising=False)
    module = importlib.import_module(request.param)
    monkeypatch.delitem(sys.modules, request.param)
    return module


every_game = pytest.mark.parametrize("example", LOOPS, indirect=True)


def parameters(players: dict[str, Any]) -> dict[str, Tensor]:
    """Return all parameters by player and name."""
    tensors = {}
    for name, player in players.items():
        if isinstance(player, nn.Module):
            tensors |= {f"{name}.{key}": parameter for key, parameter in player.named_parameters()}
        else:
            tensors[name] = player
    return tensors


def double(players: dict[str, Any]) -> dict[str, Any]:
    return {name: player.double() for name, player in players.items()}


@every_game
def test_five_steps_are_those_of_an_ordinary_loop(example: ModuleType) -> None:
    """In float64: the same parameters to 1e-6 after each step, though every step moves them by 1e-3."""
    settings = SETTINGS.get(example.__name__, {})
    game = example.game(**settings)
    rates = {player: 1e-3 + 1e-3 * index for index, player in enumerate(game.players)}
    stepper = detente.Stepper(game, methods.alternating(learning_rate=rates))
    plain = {name: part.train() if isinstance(part, nn.Module) else part for name, part in stepper.modules().items()}
    step, generator = LOOPS[example.__name__](plain, rates, **settings), torch.Generator().manual_seed(1)
    before = {name: tensor.clone() for name, tensor in parameters(plain).items()}
    for _ in range(5):
        batch = game.draw(generator)
        stepper.step(batch)
        step(batch)
        for name, tensor in parameters(stepper.modules()).items():
            torch.testing.assert_close(tensor, parameters(plain)[name], rtol=0, atol=1e-6)
    assert all(not torch.equal(before[name], tensor) for name, tensor in parameters(plain).items())
