"""A checkerboard is stronger than noise, and found only where a layer draws it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from detente import Adversarial
from detente.checks import off
from detente.signals.grid_pattern import GridPattern, grid_strength
from tests.signals.conftest import Past

NOISE = torch.randn(256, 1, 8, 8, generator=torch.Generator().manual_seed(0))
BOARD = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1


def test_strength() -> None:
    assert grid_strength(NOISE) == pytest.approx(1, abs=0.15)
    assert grid_strength(NOISE + BOARD) > 3
    assert math.isnan(grid_strength(NOISE.flatten(1)))


@pytest.mark.parametrize(("kernel", "count"), [(3, 1), (4, 0)])
def test_finding(past: Past, kernel: int, count: int) -> None:
    layers = nn.Linear(2, 16), nn.Unflatten(1, (1, 4, 4)), nn.ConvTranspose2d(1, 1, kernel, 2, 1, kernel % 2)
    with off():
        judge = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
        game = Adversarial(nn.Sequential(*layers), judge, NOISE, latent=2, batch=16)
    values = {"grid_pattern.fake": 4.0, "grid_pattern.real": 1.0}
    found = GridPattern().findings(past(values, game=game))
    assert [finding.failure for finding in found] == ["artefact"] * count
    assert not GridPattern().findings(past({**values, "grid_pattern.fake": 1.2}, game=game))
