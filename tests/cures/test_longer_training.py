"""Tests of `LongerTraining`."""

from collections.abc import Callable
from typing import Any

from detente.cures.base import Change
from detente.cures.longer_training import LongerTraining

Make = Callable[..., Any]


def test_longer_training(case: Make, game: Make, trains: Make) -> None:
    healthy = case("healthy")
    assert LongerTraining()(healthy) == Change()
    assert trains(healthy, Change()) == (healthy.game, healthy.method)
    assert LongerTraining()(case("collapse")) is None
