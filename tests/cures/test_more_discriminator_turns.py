"""Tests of `MoreDiscriminatorTurns`."""

from collections.abc import Callable
from typing import Any

from detente.cures.more_discriminator_turns import MoreDiscriminatorTurns

Make = Callable[..., Any]


def test_more_discriminator_turns(case: Make, game: Make, trains: Make) -> None:
    ill = case("generator overpowers or discriminator dead")
    changed, method = trains(ill, MoreDiscriminatorTurns()(ill))
    assert method.gradient_evaluations(changed) == 4
    own = case("collapse", game=game("networks"))
    changed, method = trains(own, MoreDiscriminatorTurns()(own))
    assert method.playing(changed).scheme.turns == {"judge": 3}
