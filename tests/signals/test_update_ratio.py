"""UpdateRatio: the size of a step, players that do not move, weights that grow."""

from dataclasses import replace

import numpy as np
import pytest

from detente import methods
from detente.signals.update_ratio import UpdateRatio
from tests.signals.conftest import Observe, Past, plane_game


def test_the_ratio_of_sgd_is_rate_times_gradient(observe: Observe) -> None:
    observation = observe(plane_game(), methods.simultaneous("sgd", learning_rate=0.5))
    state = observation.state
    import torch

    from detente.autodiff import player_gradient

    batch = observation.game.draw(torch.Generator().manual_seed(13))
    block = player_gradient(observation.game, "generator", state.vectors, state.buffers, batch).field["generator"]
    expected = 0.5 * float(block.norm()) / float(state.vectors["generator"].norm())
    assert UpdateRatio()(observation)["generator"] == pytest.approx(expected, rel=1e-4)


def test_players_that_stand_still(past: Past) -> None:
    for role, failure in (("generator", "wiring"), ("discriminator", "generator overpowers or discriminator dead")):
        (finding,) = UpdateRatio().findings(past({f"update_ratio.{role}_moved": 0.0}))
        assert finding.failure == failure
        assert finding.certainty >= 0.9
        assert not UpdateRatio().findings(past({f"update_ratio.{role}_moved": 0.01}))


def test_weights_that_blow_up(past: Past) -> None:
    (finding,) = UpdateRatio().findings(past({"update_ratio.generator_size": np.geomspace(1, 1000, 13)}))
    assert finding.failure == "blow-up"
    assert not UpdateRatio().findings(past({"update_ratio.generator_size": np.geomspace(1, 3, 13)}))


def test_steps_that_are_too_large(past: Past) -> None:
    values = {"update_ratio.discriminator": 0.4, "spread.distance": 0.9}
    (finding,) = UpdateRatio().findings(past(values))
    assert finding.failure == "blow-up"
    assert not UpdateRatio().findings(past({**values, "update_ratio.discriminator": 0.01}))


def test_a_generator_whose_rate_has_vanished(past: Past) -> None:
    values = {"update_ratio.generator_moved": np.geomspace(0.1, 1e-12, 13), "spread.distance": 0.9}
    (finding,) = UpdateRatio().findings(past(values))
    assert finding.failure == "vanishing gradient"
    assert not UpdateRatio().findings(past({**values, "spread.distance": 0.01}))
    slow = past({**values, "update_ratio.generator_moved": 1e-4})  # of ten steps or so, which is 1 % in a long run
    every = slow.steps[1] - slow.steps[0]
    assert bool(UpdateRatio().findings(replace(slow, total=50 * every)))
    assert not UpdateRatio().findings(replace(slow, total=500 * every))
