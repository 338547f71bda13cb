"""Tests of `LookaheadSteps`."""

from collections.abc import Callable
from typing import Any

from detente.cures.lookahead_steps import LookaheadSteps
from detente.optimizers.adam import Adam
from detente.schemes.lookahead import Lookahead

Make = Callable[..., Any]


def test_lookahead_steps(case: Make, game: Make, trains: Make) -> None:
    ill = case("oscillation or limit cycle")
    _, method = trains(ill, LookaheadSteps()(ill))
    assert isinstance(method.scheme, Lookahead) and method.optimizer == Adam(ill.balanced, (0.0, 0.9))
