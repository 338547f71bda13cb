"""Tests of `StrongDefault`."""

from collections.abc import Callable
from typing import Any

from detente.cures.strong_default import StrongDefault
from detente.objectives.relativistic import Relativistic
from detente.optimizers.adam import Adam
from detente.penalties.r1 import R1
from detente.penalties.r2 import R2
from detente.schemes.averaging import Averaging

Make = Callable[..., Any]


def test_strong_default(case: Make, game: Make, trains: Make) -> None:
    ill = case("collapse")
    changed, method = trains(ill, StrongDefault()(ill))
    assert isinstance(changed.objective, Relativistic)
    assert [type(penalty.penalty) for penalty in changed.penalties] == [R1, R2]
    assert changed.penalties[0].penalty.strength == ill.penalty_strength
    assert method.optimizer == Adam(ill.balanced, (0.0, 0.99)) and isinstance(method.scheme, Averaging)
    own = case("collapse", game=game("networks"))
    changed, _ = trains(own, StrongDefault()(own))
    assert changed.players == ("maker", "judge")  # the generator first
    few = case("too few data", game=game("images"))
    assert trains(few, StrongDefault()(few))[0].filter is not None
