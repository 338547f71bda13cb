"""Tests of `LowerRates`."""

from collections.abc import Callable
from typing import Any

from detente import methods
from detente.cures.lower_rates import LowerRates
from detente.optimizers.adam import Adam

Make = Callable[..., Any]


def test_lower_rates(case: Make, game: Make, trains: Make) -> None:
    ill = case("blow-up", method=methods.alternating(learning_rate=0.1))
    _, method = trains(ill, LowerRates()(ill))
    assert method.optimizer == Adam(ill.balanced / 5, (0.5, 0.999))
    low = case("blow-up", method=methods.alternating(learning_rate=1e-4))
    change = LowerRates()(low)
    assert change is not None and change.settings["learning_rate"] == 2e-5
