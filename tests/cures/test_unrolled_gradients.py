"""Tests of `UnrolledGradients`."""

from collections.abc import Callable
from typing import Any

from detente.cures.unrolled_gradients import UnrolledGradients
from detente.fields.unrolled import Unrolled

Make = Callable[..., Any]


def test_unrolled_gradients(case: Make, game: Make, trains: Make) -> None:
    ill = case("collapse")
    _, method = trains(ill, UnrolledGradients()(ill))
    assert isinstance(method.field, Unrolled)
    own = case("collapse", game=game("networks"))
    changed, method = trains(own, UnrolledGradients()(own))
    assert method.playing(changed).field.player == "maker"
    assert UnrolledGradients()(case("collapse", game=game("images"))) is None  # BatchNorm
