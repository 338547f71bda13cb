"""Slope: the slope of a linear critic, critics without a bound, penalties over the wrong axes."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from detente import Adversarial
from detente.penalties.gradient_penalty import GradientPenalty
from detente.signals.slope import Slope
from tests.signals.conftest import Observe, Past, artists, cross_entropy, mlp, plane, plane_game


def linear() -> nn.Module:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 4.0]]))
    return layer


def test_the_slope_of_a_linear_critic_is_the_norm_of_its_weight(observe: Observe) -> None:
    values = Slope()(observe(Adversarial(lambda: mlp(2, 8, 2), linear, plane(), 2, batch=32)))
    assert values["mean"] == pytest.approx(5, rel=1e-5)
    assert values["largest"] == pytest.approx(5, rel=1e-5)


def test_a_critic_without_a_bound(past: Past) -> None:
    values, losses = {"slope.mean": np.geomspace(1, 100, 13)}, {"discriminator": -np.linspace(0, 300, 600)}
    found = [Slope().findings(past(values, losses, plane_game(objective="wasserstein", **o)))[0] for o in OPTIONS]
    assert [finding.failure for finding in found] == ["unbounded critic"] * 2
    assert found[0].certainty > found[1].certainty


OPTIONS: tuple[dict[str, Any], ...] = ({}, {"penalties": GradientPenalty()})


def test_a_critic_with_a_plateau(past: Past) -> None:
    values = {"slope.mean": 20 - 19 * np.exp(-np.arange(13) / 2)}
    losses = {"discriminator": -5 * np.exp(-np.arange(600) / 200)}
    bounded = plane_game(objective="wasserstein", penalties=GradientPenalty())
    assert not Slope().findings(past({**values, "spread.distance": 0.05}, losses, bounded))
    rising = {"slope.mean": np.geomspace(1, 100, 13)}  # of a cross-entropy, which is bounded below by 0
    assert not Slope().findings(past(rising, {"discriminator": np.exp(-np.arange(600) / 100)}))


@pytest.mark.parametrize(("name", "size", "level"), [("pixels", 28.0, 28.0), ("batch", 8.0, 0.125)])
def test_a_penalty_over_the_wrong_axes(past: Past, name: str, size: float, level: float) -> None:
    game = artists(cross_entropy)
    noise = 1 + 0.02 * np.sin(np.arange(13))
    (finding,) = Slope().findings(past({"slope.mean": level * noise, f"slope.{name}": size}, game=game))
    assert finding.failure == "penalty or Lipschitz bound wrong"
    assert not Slope().findings(past({"slope.mean": noise, f"slope.{name}": size}, game=game))


def test_a_penalty_that_does_not_hold_the_critic(past: Past) -> None:
    game = plane_game(objective="wasserstein", penalties=GradientPenalty(1e-5))
    (finding,) = Slope().findings(past({"slope.mean": 40.0, "spread.distance": 0.9}, game=game))
    assert finding.failure == "penalty or Lipschitz bound wrong"
    assert not Slope().findings(past({"slope.mean": 1.2, "slope.relative": 2.0, "spread.distance": 0.9}, game=game))


def test_the_sizes_of_wrong_axes(observe: Observe) -> None:
    data = torch.randn(64, 1, 4, 9)
    networks = (
        (lambda: nn.Sequential(mlp(2, 36), nn.Unflatten(1, (1, 4, 9)))),
        (lambda: nn.Sequential(nn.Flatten(), mlp(36, 1))),
    )
    values = Slope()(observe(Adversarial(*networks, data, 2, batch=16)))
    assert values["pixels"] == pytest.approx(6)
    assert values["batch"] == pytest.approx(math.sqrt(16))
