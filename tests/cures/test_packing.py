"""Tests of `Packing`."""

from collections.abc import Callable
from typing import Any

import torch

from detente.cures.packing import Packing

Make = Callable[..., Any]


def test_packing(case: Make, game: Make, trains: Make) -> None:
    ill = case("collapse")
    changed, _ = trains(ill, Packing()(ill))
    assert changed.modules["discriminator"](torch.zeros(6, 2)).shape == (3, 1)
    assert Packing()(case("collapse", game=game("networks"))) is None
    assert Packing()(case("collapse", game=game(batch=15))) is None
    assert Packing.changes_networks
