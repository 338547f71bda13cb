"""Tests of `WassersteinPenalty`."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from detente.cures.wasserstein_penalty import WassersteinPenalty

Make = Callable[..., Any]


def test_wasserstein_penalty(case: Make, game: Make, trains: Make) -> None:
    wide = case("unbounded critic", game=game(data=3.0 * torch.randn(256, 2), objective="wasserstein"))
    changed, _ = trains(wide, WassersteinPenalty()(wide))
    (penalty,) = changed.penalties
    # λ(‖∇D‖ − 1)² at u = x/σ is 10σ²(‖∇D‖ − 1/σ)² at x.
    assert penalty.strength * penalty.target**2 == pytest.approx(10.0)
    assert penalty.target == pytest.approx(1 / float(wide.deviation.mean()), rel=0.05)
    own = case("unbounded critic", game=game("networks"))
    trains(own, WassersteinPenalty()(own))
    assert WassersteinPenalty()(case("unbounded critic", game=game("images"))) is None  # BatchNorm
