"""Tests of `OtherNormalisation`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from detente.cures.other_normalisation import OtherNormalisation

Make = Callable[..., Any]


def test_other_normalisation(case: Make, game: Make, trains: Make) -> None:
    ill = case("normalisation", game=game("images"))
    changed, _ = trains(ill, OtherNormalisation()(ill))
    judge, x = changed.modules["discriminator"], torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(judge(x)[:2], judge(x[:2]))  # a score does not depend on its mates
    assert OtherNormalisation()(case("normalisation")) is None
    assert OtherNormalisation()(case("normalisation", game=changed)) is None

    def one_pixel() -> nn.Module:
        return nn.Sequential(
            nn.Unflatten(1, (2, 1, 1)), nn.Conv2d(2, 8, 1), nn.GroupNorm(8, 8), nn.Flatten(), nn.Linear(8, 1)
        )

    dead = case("vanishing gradient", game=game(discriminator=one_pixel))
    alive, _ = trains(dead, OtherNormalisation()(dead))
    points = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    assert float(dead.game.modules["discriminator"](points).detach().std()) < 1e-4
    assert float(alive.modules["discriminator"](points).detach().std()) > 1e-3


def test_normalisation_of_the_generator_that_does_not_work(case: Make, game: Make, trains: Make) -> None:
    def one_pixel() -> nn.Module:
        return nn.Sequential(
            nn.Unflatten(1, (3, 1, 1)), nn.Conv2d(3, 8, 1), nn.GroupNorm(8, 8), nn.Flatten(), nn.Linear(8, 2)
        )

    dead = case("normalisation", game=game(generator=one_pixel))
    alive, _ = trains(dead, OtherNormalisation()(dead))
    latents = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert float(dead.game.modules["generator"](latents).detach().std(0).mean()) < 1e-4
    assert float(alive.modules["generator"](latents).detach().std(0).mean()) > 1e-3

    def slow(momentum: float) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8, momentum=momentum), nn.ReLU(), nn.Linear(8, 2))

    ill = case("normalisation", game=game(generator=lambda: slow(0.0)))
    mended, _ = trains(ill, OtherNormalisation()(ill))
    assert mended.modules["generator"][1].momentum == 0.1
    assert OtherNormalisation()(case("normalisation", game=game(generator=lambda: slow(0.1)))) is None
