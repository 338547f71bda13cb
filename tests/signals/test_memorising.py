"""Memorising: scores of seen and of held-out real samples."""

import pytest
import torch

from detente.signals.memorising import Memorising
from tests.signals.conftest import Observe, Past, plane_game


def test_area_and_position_of_known_scores(observe: Observe) -> None:
    observation = observe(plane_game())
    seen = torch.full((512,), 4.0, dtype=torch.float64)
    observation.__dict__.update(fake_scores=seen - 4, seen_scores=seen, held_out_scores=seen - 3)
    values = Memorising()(observation)
    assert values["seen_over_held_out"] == 1
    assert values["position"] == pytest.approx(0.25)


def test_nothing_without_held_out_samples(observe: Observe) -> None:
    assert Memorising()(observe(plane_game(), held_out=None)) == {}


def test_memorised(past: Past) -> None:
    values = {"memorising.seen_over_held_out": 0.99, "memorising.position": 0.1, "memorising.error": 0.02}
    (finding,) = Memorising().findings(past(values))
    assert finding.failure == "too few data"
    assert finding.certainty >= 0.9
    assert not Memorising().findings(
        past({**values, "memorising.seen_over_held_out": 0.55, "memorising.position": 0.9})
    )
    assert not Memorising().findings(past({**values, "memorising.seen_over_held_out": 0.75, "memorising.error": 0.1}))
