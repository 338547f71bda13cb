"""Tests of `LargerBatches`."""

from collections.abc import Callable
from typing import Any

import torch

from detente.cures.larger_batches import LargerBatches
from detente.cures.plan import candidates

Make = Callable[..., Any]


def test_larger_batches(case: Make, game: Make, trains: Make) -> None:
    ill = case("collapse", game=game(batch=2))
    changed, _ = trains(ill, LargerBatches()(ill))
    assert changed.batch == 32
    assert len(changed.draw(torch.Generator().manual_seed(0))["real"]) == 32
    assert all(change.game["batch"] == 32 for _, change in candidates(ill)), "every trial has them"
    assert LargerBatches()(case("collapse", game=game(batch=16))) is None
    assert LargerBatches()(case("collapse", game=game("networks"))) is None
    few = game(data=torch.randn(20, 2, generator=torch.Generator().manual_seed(0)), batch=2)
    assert LargerBatches()(case("collapse", game=few)) is None
