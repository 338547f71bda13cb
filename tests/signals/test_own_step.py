"""OwnStep: the generator's step moves its samples' scores towards those of real samples, unless its sign is wrong."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from detente import Adversarial
from detente.signals.own_step import OwnStep
from tests.signals.conftest import Observe, Past, artists, plane


def judge() -> nn.Module:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.0]]))
    return layer


def wrong_sign(net: Any, batch: Any) -> dict[str, Tensor]:
    real, fake = net.critic(batch["real"]), net.critic(net.artist(batch["z"]))
    soft = nn.functional.softplus
    return {"artist": soft(fake).mean(), "critic": soft(-real).mean() + soft(fake).mean()}


def test_the_direction_of_a_step(observe: Observe) -> None:
    game = Adversarial(lambda: nn.Linear(2, 2), judge, plane() + 5, 2, batch=64)
    values = OwnStep()(observe(game))
    assert values["gap"] > 1
    assert values["towards_real"] > 0
    assert OwnStep()(observe(artists(wrong_sign, judge, shift=5.0)))["towards_real"] < 0


def test_finding(past: Past) -> None:
    values = {"own_step.gap": 3.0, "own_step.towards_real": -2.0, "spread.distance": 0.9}
    own = artists(wrong_sign, judge)
    (finding,) = OwnStep().findings(past(values, game=own))
    assert finding.failure == "wiring"
    assert not OwnStep().findings(past({**values, "own_step.towards_real": 2.0}, game=own))
    assert not OwnStep().findings(past({**values, "own_step.gap": np.resize([3.0, -3.0], 13)}, game=own))
    assert not OwnStep().findings(past({**values, "own_step.gap": 0.01}, game=own))
    assert not OwnStep().findings(past(values))  # the signs of the library's objectives are right
