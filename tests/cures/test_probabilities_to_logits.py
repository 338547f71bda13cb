"""Tests of `ProbabilitiesToLogits`."""

from collections.abc import Callable
from typing import Any

from torch import nn

from detente.cures.probabilities_to_logits import ProbabilitiesToLogits

Make = Callable[..., Any]


def test_probabilities_to_logits(case: Make, game: Make, trains: Make) -> None:
    def judge() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid())

    squashed = case("wiring", game=game(discriminator=judge, objective="least_squares"))
    changed, _ = trains(squashed, ProbabilitiesToLogits()(squashed))
    assert changed.score_kind == "probabilities"
    assert ProbabilitiesToLogits()(case("wiring")) is None
    assert ProbabilitiesToLogits()(case("wiring", game=changed)) is None
