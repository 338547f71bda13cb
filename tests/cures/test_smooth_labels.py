"""Tests of `SmoothLabels`."""

from collections.abc import Callable
from typing import Any

from detente.cures.smooth_labels import SmoothLabels
from detente.objectives.label_smoothing import LabelSmoothing

Make = Callable[..., Any]


def test_smooth_labels(case: Make, game: Make, trains: Make) -> None:
    ill = case("discriminator overpowers")
    changed, _ = trains(ill, SmoothLabels()(ill))
    assert changed.objective == LabelSmoothing(0.9)
    assert SmoothLabels()(case("discriminator overpowers", game=game(objective="hinge"))) is None
