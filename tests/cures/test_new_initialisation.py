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


def test_one_tiny_layer_is_the_cause_where_no_gradient_arrives(case: Make, game: Make) -> None:
    def judge(place: int) -> nn.Module:
        network = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
        nn.init.normal_(network[place].weight, 0, 1e-4)  # pyright: ignore[reportArgumentType]
        return network

    first, last = (game(discriminator=lambda place=place: judge(place)) for place in (0, 4))
    assert NewInitialisation().is_certain(case("vanishing gradient", game=first))
    assert not NewInitialisation().is_certain(case("vanishing gradient", game=last))
    assert NewInitialisation()(case("vanishing gradient", game=last)) is None
    assert NewInitialisation()(case("collapse", game=first)) is None
