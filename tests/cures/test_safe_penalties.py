"""Tests of `SafePenalties`."""

from collections.abc import Callable
from typing import Any

from detente.cures.safe_penalties import SafePenalties
from detente.penalties.gradient_penalty import GradientPenalty
from detente.penalties.lazy import Lazy
from detente.penalties.r1 import R1
from detente.penalties.r2 import R2

Make = Callable[..., Any]


def test_penalties_at_fault_are_replaced(case: Make, game: Make, trains: Make) -> None:
    ill = case("penalty or Lipschitz bound wrong", game=game(penalties=GradientPenalty()))
    changed, method = trains(ill, SafePenalties()(ill))
    strength = ill.penalty_strength
    assert changed.penalties == (Lazy(R1(strength), 4), Lazy(R2(strength), 4))
    assert method is ill.method


def test_other_penalties_stay(case: Make, game: Make) -> None:
    assert SafePenalties()(case("penalty or Lipschitz bound wrong")) is None, "there are none"
    assert SafePenalties()(case("collapse", game=game(penalties=GradientPenalty()))) is None, "they are not at fault"
