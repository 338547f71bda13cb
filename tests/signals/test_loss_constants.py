"""LossConstants: the values of dead games."""

import math

import numpy as np
import pytest

from detente.signals.loss_constants import TWICE, LossConstants
from tests.signals.conftest import Observe, Past, artists, cross_entropy, plane_game

DEAD = "generator overpowers or discriminator dead"
NOISE = np.random.default_rng(0).normal(size=600)


def failures(history: object) -> list[str]:
    return [finding.failure for finding in LossConstants().findings(history)]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("discriminator", "generator", "failure"),
    [
        (2 * math.log(2), math.log(2), DEAD),
        (math.log(2), math.log(2), DEAD),
        (0.25, 0.125, DEAD),
        (0.5, 0.25, DEAD),
        (2.0, 0.0, DEAD),
        (15.942, 0.0, DEAD),
        (7.971, 0.0, DEAD),
        (-math.log(1e-6), 0.0, DEAD),
        (0.0, 16.118, "vanishing gradient"),
        (0.0, 13.816, "vanishing gradient"),
    ],
)
def test_constants(past: Past, discriminator: float, generator: float, failure: str) -> None:
    assert failure in failures(past({}, {"discriminator": discriminator, "generator": generator}))


def test_the_same_values_with_the_noise_of_a_living_game(past: Past) -> None:
    losses = {"discriminator": 2 * math.log(2) + 0.02 * NOISE, "generator": math.log(2) + 0.02 * NOISE}
    assert not failures(past({}, losses))


def test_the_floor_of_a_sigmoid_twice() -> None:
    assert pytest.approx(1.0064, abs=1e-4) == TWICE


def test_a_sigmoid_twice(past: Past) -> None:
    falling = TWICE + 0.3 * np.exp(-np.arange(600) / 30) + 1e-3
    losses = {"discriminator": falling, "generator": 0.6 + 0.05 * np.sin(np.arange(600))}
    assert failures(past({"separation.held_out": 0.99}, losses)) == ["wiring"]
    assert not failures(past({"separation.held_out": 0.6}, losses))
    assert not failures(past({}, {"discriminator": 1.0 + 0.1 * NOISE, "generator": 0.6 + 0.02 * NOISE}))


def test_both_losses_vanish(past: Past) -> None:
    losses = {"discriminator": np.exp(-np.arange(600) / 20), "generator": np.exp(-np.arange(600) / 20)}
    assert failures(past({}, losses)) == ["normalisation"]
    assert failures(past({"own_step.towards_real": -1.0}, losses)) == ["wiring"]
    of_critic = {"discriminator": losses["discriminator"] * NOISE, "generator": -losses["generator"] * NOISE}
    assert not failures(past({}, of_critic))  # a Wasserstein game may come to 0


def test_class_loss_of_log_k(past: Past) -> None:
    values = {"loss_constants.generator.class": math.log(10), "loss_constants.classes": 10.0}
    assert failures(past(values)) == ["labels ignored"]
    assert not failures(past({**values, "loss_constants.generator.class": np.linspace(math.log(10), 0.5, 13)}))


def test_losses_are_those_of_the_game(observe: Observe) -> None:
    for game in (plane_game(), artists(cross_entropy)):
        observation = observe(game)
        losses, _ = game.losses(observation.state.vectors, observation.state.buffers, observation.batch)
        values = LossConstants()(observation)
        assert values["generator"] == pytest.approx(float(losses[observation.gan.generator]))
        assert values["discriminator"] == pytest.approx(float(losses[observation.gan.discriminator]))
