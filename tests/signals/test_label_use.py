"""LabelUse: networks that ignore labels, and one that is all label."""

import pytest
import torch
from torch import Tensor, nn

from detente.checks.switch import off
from detente.data.arrays import Arrays
from detente.games.conditional import Conditional
from detente.signals.label_use import LabelUse
from tests.signals.conftest import Observe, Past, plane, plane_game


class Net(nn.Module):
    """A linear map, plus a multiple of the label."""

    def __init__(self, outputs: int, weight: float) -> None:
        super().__init__()
        self.linear, self.weight = nn.Linear(2, outputs), weight

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return self.linear(x) + self.weight * label[:, None]


def game(of_generator: float, of_discriminator: float) -> Conditional:
    data = Arrays(plane(), torch.arange(1024) % 3)
    with off():
        return Conditional(lambda: Net(2, of_generator), lambda: Net(1, of_discriminator), data, 2, batch=64)


def test_ignored_labels_change_nothing(observe: Observe) -> None:
    values = LabelUse()(observe(game(0.0, 5.0)))
    assert values["generator"] == 0
    assert values["discriminator"] > 0.5
    values = LabelUse()(observe(game(5.0, 0.0)))
    assert values["discriminator"] == 0
    assert values["generator"] > 0.5


def test_nothing_without_labels(observe: Observe) -> None:
    assert LabelUse()(observe(plane_game())) == {}


@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_finding(past: Past, role: str) -> None:
    exact = LabelUse().findings(past({f"label_use.{role}": 0.0}))[0]
    small = LabelUse().findings(past({f"label_use.{role}": 0.01}))[0]
    assert exact.failure == small.failure == "labels ignored"
    assert exact.certainty > small.certainty
    assert not LabelUse().findings(past({f"label_use.{role}": 0.4}))
