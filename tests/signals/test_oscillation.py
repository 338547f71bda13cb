"""Oscillation: modes in turn, and a mean that swings."""

import numpy as np
import pytest

from detente.signals.oscillation import Oscillation, _turns
from tests.signals.conftest import Observe, Past, plane, plane_game

TIMES = np.arange(13)


def shares(visited: np.ndarray, cells: int = 8) -> dict[str, np.ndarray]:
    return {f"oscillation.cell_{cell}": (visited == cell).astype(float) for cell in range(cells)}


def test_shares_sum_to_one_and_the_mean_is_that_of_the_samples(observe: Observe) -> None:
    observation = observe(plane_game())
    observation.__dict__["samples"] = plane(512) + 2
    values = Oscillation()(observation)
    assert sum(value for name, value in values.items() if name.startswith("cell_")) == pytest.approx(1)
    assert values["mean_0"] == pytest.approx(2, abs=0.3)
    assert values["mean_1"] == pytest.approx(2, abs=0.3)


def test_one_mode_after_another(past: Past) -> None:
    (finding,) = Oscillation().findings(past({**shares(TIMES % 8), "spread.distance": 0.9}))
    assert finding.failure == "oscillation or limit cycle"


def test_a_collapse_that_stays_does_not_oscillate(past: Past) -> None:
    assert not Oscillation().findings(past({**shares(np.zeros(13)), "spread.distance": 0.9}))


def test_a_mean_that_swings(past: Past) -> None:
    swing = {"oscillation.mean_0": 2 * np.sin(1.3 * TIMES), "oscillation.mean_1": 0.1}
    (finding,) = Oscillation().findings(past({**swing, "spread.distance": 0.9}))
    assert finding.failure == "oscillation or limit cycle"
    surer = Oscillation().findings(past({**swing, "spread.distance": 0.9, "rotation.imaginary_share": 0.99}))[0]
    assert surer.certainty > finding.certainty
    assert "Im" in surer.evidence


@pytest.mark.parametrize(
    "path", [3 * np.exp(-0.4 * TIMES) * np.cos(1.3 * TIMES), 5 - 0.4 * TIMES, 0.2 * np.sin(1.3 * TIMES)]
)
def test_a_mean_that_settles_or_drifts_does_not_oscillate(past: Past, path: np.ndarray) -> None:
    assert not Oscillation().findings(past({"oscillation.mean_0": path, "spread.distance": 0.9}))


def test_a_spread_that_swings(past: Past) -> None:
    (finding,) = Oscillation().findings(past({"oscillation.spread": 0.5 * np.cos(2 * TIMES), "spread.distance": 0.9}))
    assert finding.failure == "oscillation or limit cycle"


def test_turns() -> None:
    assert _turns(np.array([0.0, 1.0, 0.0, 1.0]), 0.5) == 2
    assert _turns(np.array([0.0, 1.0, 0.9, 2.0]), 0.5) == 0
    assert _turns(np.array([0.0, 0.0]), 0.0) == 0
