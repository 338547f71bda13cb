"""Tests of `Augmentation`."""

from collections.abc import Callable
from typing import Any

from detente.cures.augmentation import Augmentation
from detente.filters.diff_augment import DiffAugment

Make = Callable[..., Any]


def test_augmentation(case: Make, game: Make, trains: Make) -> None:
    few = case("too few data", game=game("images"))
    changed, _ = trains(few, Augmentation()(few))
    assert changed.filter == DiffAugment("translation,cutout")
    assert Augmentation()(case("too few data")) is None
