"""Tests of `GradientClipping`."""

from collections.abc import Callable
from typing import Any

from detente.cures.gradient_clipping import GradientClipping
from detente.optimizers.adam import Adam
from detente.optimizers.clipped_gradient import ClippedGradient

Make = Callable[..., Any]


def test_gradient_clipping(case: Make, game: Make, trains: Make) -> None:
    ill = case("blow-up")
    _, method = trains(ill, GradientClipping()(ill))
    assert method.optimizer == ClippedGradient(Adam(ill.balanced, (0.5, 0.999)), 1.0)
