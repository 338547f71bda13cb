"""Tests of `AdaptiveDiscriminatorTurns`."""

from collections.abc import Callable
from typing import Any

from detente.cures.adaptive_discriminator_turns import AdaptiveDiscriminatorTurns

Make = Callable[..., Any]


def test_adaptive_discriminator_turns(case: Make, game: Make, trains: Make) -> None:
    ill = case("discriminator overpowers")
    _, method = trains(ill, AdaptiveDiscriminatorTurns()(ill))
    assert method.scheme.thresholds == {"discriminator": 0.69}
    assert AdaptiveDiscriminatorTurns()(case("collapse", game=game(objective="wasserstein"))) is None
    assert AdaptiveDiscriminatorTurns()(case("collapse", game=game("networks"))) is None
