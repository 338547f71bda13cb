"""ModeDifference: nothing for networks of one mode, and wrong statistics of batch norm."""

import numpy as np
import pytest
import torch
from torch import nn

from detente import Adversarial
from detente.signals.mode_difference import ModeDifference
from tests.signals.conftest import Observe, Past, mlp, plane, plane_game


class Wrong(nn.Module):
    """A generator whose batch norm has stored other statistics than those of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        with torch.no_grad():
            assert self.norm.running_mean is not None
            self.norm.running_mean.fill_(10.0)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.norm(z)


def test_networks_of_one_mode(observe: Observe) -> None:
    assert ModeDifference()(observe(plane_game())) == {}


def test_wrong_statistics(observe: Observe) -> None:
    values = ModeDifference()(observe(Adversarial(Wrong, lambda: mlp(2, 8, 1), plane(), 2, batch=128)))
    assert values["generator"] == pytest.approx(10, rel=0.1)  # (z − 10)/1 instead of z
    assert values["training_distance"] < 0.05
    assert values["distance"] > 1


def test_finding(past: Past) -> None:
    values = {"mode_difference.distance": 0.8, "mode_difference.training_distance": 0.05}
    (finding,) = ModeDifference().findings(past(values))
    assert finding.failure == "normalisation"
    lagging = np.r_[np.full(6, 0.8), np.full(7, 0.06)]  # the stored statistics need some steps
    assert not ModeDifference().findings(past({**values, "mode_difference.distance": lagging}))
