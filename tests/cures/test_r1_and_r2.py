"""Tests of `R1AndR2`."""

from collections.abc import Callable
from typing import Any

import pytest

from detente.cures.r1_and_r2 import R1AndR2
from detente.penalties.lazy import Lazy
from detente.penalties.r1 import R1
from detente.penalties.r2 import R2

Make = Callable[..., Any]


def test_r1_and_r2(case: Make, game: Make, trains: Make) -> None:
    ill = case("discriminator overpowers")
    changed, _ = trains(ill, R1AndR2()(ill))
    strength = changed.penalties[0].penalty.strength
    assert strength == pytest.approx(3 * ill.penalty_strength, rel=0.05)
    assert changed.penalties == (Lazy(R1(strength), 4), Lazy(R2(strength), 4))
    own = case("collapse", game=game("networks"))
    trains(own, R1AndR2()(own))
