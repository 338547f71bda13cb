"""BestResponse: both players' gains, against steps taken by hand."""

import pytest
import torch

from detente.signals.best_response import LENGTH, BestResponse
from tests.signals.conftest import Observe, Past, plane_game


def test_the_gain_of_one_step(observe: Observe) -> None:
    observation = observe(plane_game())
    game, state = observation.game, observation.state
    leaves = {name: vector.clone().requires_grad_() for name, vector in state.vectors.items()}
    losses, _ = game.losses(leaves, state.buffers, observation.batch)
    (block,) = torch.autograd.grad(losses["discriminator"], leaves["discriminator"])
    vector = state.vectors["discriminator"]
    moved = {**state.vectors, "discriminator": vector - LENGTH * vector.norm() * block / block.norm()}
    other = game.draw(torch.Generator().manual_seed(19))
    before, after = (float(game.losses(v, state.buffers, other)[0]["discriminator"]) for v in (state.vectors, moved))
    values = BestResponse(steps=1)(observation)
    assert values["discriminator"] == pytest.approx(before - after, rel=1e-3)
    assert values["gap"] == pytest.approx(values["generator"] + values["discriminator"])
    assert BestResponse(steps=4)(observation)["discriminator"] > values["discriminator"] > 0


def test_a_discriminator_that_lags_behind(past: Past) -> None:
    values = {"best_response.relative": 0.4, "separation.held_out": 0.5, "spread.distance": 0.9}
    (finding,) = BestResponse().findings(past(values))
    assert finding.failure == "generator overpowers or discriminator dead"
    assert not BestResponse().findings(past({**values, "best_response.relative": 0.01}))
    assert not BestResponse().findings(past({**values, "separation.held_out": 0.95}))
