"""Copies: samples equal to training samples."""

import pytest

from detente.signals.copies import Copies
from tests.signals.conftest import Observe, Past, plane, plane_game


def test_copies_have_distance_zero_and_new_samples_one(observe: Observe) -> None:
    observation = observe(plane_game())
    observation.__dict__["samples"] = observation.seen.clone()
    values = Copies()(observation)
    assert values["distance"] == 0
    assert values["share"] == 1
    observation = observe(plane_game())
    observation.__dict__["samples"] = observation.held_out
    assert Copies()(observation)["distance"] == pytest.approx(1, rel=0.1)


def test_share_of_different_samples(observe: Observe) -> None:
    values = Copies()(observe(plane_game(), seen=plane(64).repeat(8, 1)))
    assert values["distinct"] == pytest.approx(1 / 8)


def test_finding(past: Past) -> None:
    values = {"copies.distance": 0.02, "copies.distinct": 0.2, "spread.variance": 0.9}
    (finding,) = Copies().findings(past(values))
    assert finding.failure == "too few data"
    assert not Copies().findings(past({**values, "copies.distance": 0.9}))
    assert not Copies().findings(past({**values, "copies.distinct": 1.0}))
    assert not Copies().findings(past({**values, "spread.variance": 0.01}))  # a collapse onto one sample
