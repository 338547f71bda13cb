"""Tests of `TwoTimeScales`."""

from collections.abc import Callable
from typing import Any

from detente.cures.two_time_scales import TwoTimeScales

Make = Callable[..., Any]


def test_two_time_scales(case: Make, game: Make, trains: Make) -> None:
    ill = case("generator overpowers or discriminator dead")
    _, method = trains(ill, TwoTimeScales()(ill))
    rates = {name: optimizer.learning_rate for name, optimizer in method.optimizer.items()}
    assert rates["discriminator"] == 4 * rates["generator"]
    own = case("collapse", game=game("networks"))
    changed, method = trains(own, TwoTimeScales()(own))
    assert method.optimizer["judge"].learning_rate == 4 * method.optimizer["maker"].learning_rate
