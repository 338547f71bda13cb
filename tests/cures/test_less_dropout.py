"""Tests of `LessDropout`."""

from collections.abc import Callable
from typing import Any

from torch import nn

from detente.cures.less_dropout import LessDropout
from detente.modules.replaced_activations import largest_dropout

Make = Callable[..., Any]


def test_less_dropout(case: Make, game: Make, trains: Make) -> None:
    def judge(share: float) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(), nn.Dropout(share), nn.Linear(8, 1))

    ill = case("generator overpowers or discriminator dead", game=game(discriminator=lambda: judge(0.9)))
    changed, _ = trains(ill, LessDropout()(ill))
    assert largest_dropout(changed.modules["discriminator"]) == 0.25
    assert largest_dropout(ill.game.modules["discriminator"]) == 0.9
    assert LessDropout()(case("collapse", game=game(discriminator=lambda: judge(0.5)))) is None
