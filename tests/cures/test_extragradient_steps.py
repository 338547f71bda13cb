"""Tests of `ExtragradientSteps`."""

from collections.abc import Callable
from typing import Any

from detente.cures.extragradient_steps import ExtragradientSteps
from detente.optimizers.adam import Adam
from detente.schemes.extragradient import Extragradient

Make = Callable[..., Any]


def test_extragradient_steps(case: Make, game: Make, trains: Make) -> None:
    ill = case("oscillation or limit cycle")
    _, method = trains(ill, ExtragradientSteps()(ill))
    assert isinstance(method.scheme, Extragradient) and method.optimizer == Adam(ill.balanced, (0.5, 0.9))
