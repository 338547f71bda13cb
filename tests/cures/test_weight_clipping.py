"""Tests of `WeightClipping`."""

from collections.abc import Callable
from typing import Any

import torch

from detente.cures.weight_clipping import WeightClipping

Make = Callable[..., Any]


def test_weight_clipping(case: Make, game: Make, trains: Make) -> None:
    ill = case("unbounded critic", game=game(objective="wasserstein"))
    change = WeightClipping()(ill)
    assert change is not None
    changed, method = change.apply(ill.game, ill.method)
    state = method.initial(changed, torch.Generator().manual_seed(0))
    trains(ill, WeightClipping()(ill))
    optimizer = method.optimizers(changed.players)["discriminator"]
    vector = state.vectors["discriminator"]
    after, _ = optimizer(vector, torch.zeros_like(vector), optimizer.initial(vector), state.t)
    assert float(after.abs().max()) <= 0.05 + 1e-8
    assert WeightClipping()(case("unbounded critic")) is None
