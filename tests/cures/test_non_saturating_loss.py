"""Tests of `NonSaturatingLoss`."""

from collections.abc import Callable
from typing import Any

from detente.cures.non_saturating_loss import NonSaturatingLoss
from detente.objectives.non_saturating import NonSaturating

Make = Callable[..., Any]


def test_non_saturating_loss(case: Make, game: Make, trains: Make) -> None:
    saturating = case("vanishing gradient", game=game(objective="minimax"))
    changed, _ = trains(saturating, NonSaturatingLoss()(saturating))
    assert type(changed.objective) is NonSaturating
    assert NonSaturatingLoss()(case("vanishing gradient")) is None
    assert NonSaturatingLoss()(case("vanishing gradient", game=game("networks"))) is None
