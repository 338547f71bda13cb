"""Tests of `NewInitialisation`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from detente.cures.new_initialisation import NewInitialisation

Make = Callable[..., Any]


def test_new_initialisation(case: Make, game: Make, trains: Make) -> None:
    def dead() -> nn.Module:
        network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
        for parameter in network.parameters():
            nn.init.zeros_(parameter)
        return network

    ill = case("vanishing gradient", game=game(generator=dead, discriminator=game().modules["discriminator"]))
    changed, _ = trains(ill, NewInitialisation()(ill))
    first, second = (changed.initial(torch.Generator().manual_seed(seed))[0] for seed in (0, 1))
    again = changed.initial(torch.Generator().manual_seed(0))[0]
    for player in changed.players:  # also a module, which is otherwise the same for every seed
        assert float(first[player].std()) > 0.1 and not torch.equal(first[player], second[player])
        assert torch.equal(first[player], again[player])
    assert NewInitialisation.changes_networks


def test_biases_that_leave_units_dead(case: Make, game: Make, trains: Make) -> None:
    def dead(bias: float) -> nn.Module:
        first = nn.Linear(3, 8)
        nn.init.constant_(first.bias, bias)
        return nn.Sequential(first, nn.ReLU(), nn.Linear(8, 2))

    ill = case("vanishing gradient", game=game(generator=lambda: dead(-10.0)))
    changed, _ = trains(ill, NewInitialisation()(ill))
    latents = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    assert float(ill.game.modules["generator"](latents).detach().std(0).max()) == 0
    assert float(changed.modules["generator"](latents).detach().std(0).max()) > 0.01
    assert NewInitialisation()(case("vanishing gradient", game=game(generator=lambda: dead(0.5)))) is None
