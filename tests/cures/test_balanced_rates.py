"""Tests of `BalancedRates`."""

from collections.abc import Callable
from typing import Any

from detente import methods
from detente.cures.balanced_rates import BalancedRates
from detente.optimizers.adam import Adam

Make = Callable[..., Any]


def test_balanced_rates(case: Make, game: Make, trains: Make) -> None:
    ill = case("discriminator overpowers", method=methods.alternating(learning_rate=[1e-5, 1e-3]))
    _, method = trains(ill, BalancedRates()(ill))
    assert method.optimizer == Adam(ill.balanced, (0.5, 0.999)) and ill.rates_are_off
    assert not case("collapse", method=methods.alternating(learning_rate=5e-3)).rates_are_off
    own = case("collapse", game=game("networks"))
    changed, _ = trains(own, BalancedRates()(own))
    assert changed.players == ("maker", "judge")
