"""Tests of `TrainedParameters`."""

from collections.abc import Callable
from typing import Any

from torch import nn

from detente.cures.trained_parameters import TrainedParameters

Make = Callable[..., Any]


def frozen(kept: int) -> nn.Module:
    network = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 2))
    for parameter in list(network.parameters())[:kept]:
        parameter.requires_grad_(False)
    return network


def test_most_parameters_are_frozen(case: Make, game: Make, trains: Make) -> None:
    ill = case("wiring", game=game(generator=lambda: frozen(3)))
    changed, _ = trains(ill, TrainedParameters()(ill))
    assert ill.game.layouts["generator"].size == 2
    assert changed.layouts["generator"].size == 3 * 64 + 64 + 64 * 2 + 2


def test_a_part_that_is_frozen_on_purpose_stays_so(case: Make, game: Make) -> None:
    assert TrainedParameters()(case("wiring", game=game(generator=lambda: frozen(1)))) is None
