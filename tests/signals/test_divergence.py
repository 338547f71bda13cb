"""Divergence: the first number that is not finite, and losses that grow."""

import numpy as np
import pytest

from detente.signals.divergence import Divergence
from tests.signals.conftest import Observe, Past, plane_game


def test_largest_numbers(observe: Observe) -> None:
    observation = observe(plane_game())
    values = Divergence()(observation)
    assert values["generator"] == pytest.approx(float(observation.state.vectors["generator"].abs().max()))
    assert values["sample"] == pytest.approx(float(observation.samples.abs().max()))


def test_not_finite(past: Past) -> None:
    cause = "generator is nan; first in layer generator.2"
    (finding,) = Divergence().findings(past({}, diverged_at=30, cause=cause))
    assert finding.failure == "blow-up"
    assert finding.certainty > 0.95
    assert "step 30" in finding.evidence
    assert "generator.2" in finding.evidence


def test_not_finite_in_a_penalty(past: Past) -> None:
    first = Divergence().findings(past({}, diverged_at=1, cause="critic.penalty is nan"))[0]
    assert first.failure == "penalty or Lipschitz bound wrong"


def test_not_finite_data(past: Past) -> None:
    cause = "discriminator is nan; the batch's real is not finite"
    assert Divergence().findings(past({}, diverged_at=1, cause=cause))[0].failure == "data scale"


def test_growing_losses(past: Past) -> None:
    (finding,) = Divergence().findings(past({}, {"generator": np.geomspace(1, 1e6, 600)}))
    assert finding.failure == "blow-up"
    assert not Divergence().findings(past({}, {"generator": np.linspace(0.7, 8, 600)}))


def test_a_discriminator_far_worse_than_a_constant(past: Past) -> None:
    values = {"separation.advantage": -20.0, "spread.distance": 0.9}
    (finding,) = Divergence().findings(past(values))
    assert finding.failure == "blow-up" and "20 above" in finding.evidence
    assert not Divergence().findings(past({**values, "separation.advantage": -0.1}))
    assert not Divergence().findings(past({**values, "spread.distance": 0.01}))  # the samples are good
