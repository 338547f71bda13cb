"""Tests of `MoreLatents`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from detente import Adversarial
from detente.cures.more_latents import MoreLatents

Make = Callable[..., Any]


def test_more_latents(case: Make, trains: Make) -> None:
    def pictures(latent: int, numbers: int = 64) -> Adversarial:
        def made() -> nn.Module:
            return nn.Sequential(nn.Linear(latent, 16), nn.ReLU(), nn.Linear(16, numbers))

        return Adversarial(made, lambda: nn.Linear(numbers, 1), torch.randn(100, numbers), latent, batch=16)

    ill = case("collapse", game=pictures(1))
    changed, _ = trains(ill, MoreLatents()(ill))
    assert changed.latent_shape == (32,) and changed.modules["generator"][0].in_features == 32
    assert MoreLatents().is_certain(ill) and MoreLatents.changes_networks
    assert MoreLatents()(case("collapse", game=pictures(1, numbers=4))) is not None, "a curve in four dimensions"
    for other in (pictures(16), pictures(4, numbers=4), pictures(1, numbers=1)):
        assert MoreLatents()(case("collapse", game=other)) is None
