"""Tests of `OtherActivations`."""

from collections.abc import Callable
from typing import Any

from torch import nn

from detente.cures.other_activations import OtherActivations

Make = Callable[..., Any]


def test_hidden_sigmoids(case: Make, game: Make, trains: Make) -> None:
    def judge() -> nn.Module:
        return nn.Sequential(
            nn.Linear(2, 8), *[p for _ in range(4) for p in (nn.Sigmoid(), nn.Linear(8, 8))], nn.Linear(8, 1)
        )

    ill = case("vanishing gradient", game=game(discriminator=judge))
    changed, _ = trains(ill, OtherActivations()(ill))
    kinds = [type(part) for part in changed.modules["discriminator"].modules()]
    assert nn.Sigmoid not in kinds and kinds.count(nn.LeakyReLU) == 4
    assert OtherActivations().is_certain(ill) and not OtherActivations().is_certain(case("blow-up"))
    assert OtherActivations()(case("vanishing gradient")) is None


def test_layers_without_any_activation(case: Make, game: Make, trains: Make) -> None:
    def judge() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.Linear(8, 8), nn.Linear(8, 1))

    ill = case("wiring", game=game(discriminator=judge))
    changed, _ = trains(ill, OtherActivations()(ill))
    kinds = [type(part) for part in changed.modules["discriminator"].modules()]
    assert kinds.count(nn.LeakyReLU) == 2 and kinds[-1] is nn.Linear
    assert OtherActivations().is_certain(ill) and OtherActivations()(case("wiring")) is None
