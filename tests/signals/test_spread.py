"""Spread: variance relative to the data's, and collapse."""

import numpy as np
import pytest

from detente.signals.spread import Spread
from tests.signals.conftest import Observe, Past, plane, plane_game

RISE = np.linspace(0.01, 0.3, 13)


def test_variance_of_scaled_data_is_the_square_of_the_scale(observe: Observe) -> None:
    observation = observe(plane_game())
    observation.__dict__["samples"] = 0.5 * plane(512)
    values = Spread()(observation)
    assert values["variance"] == pytest.approx(0.25, rel=0.15)
    observation = observe(plane_game())
    observation.__dict__["samples"] = plane(512)[:1].expand(512, 2).clone()
    values = Spread()(observation)
    assert values["variance"] == pytest.approx(0, abs=1e-9)
    assert values["coverage"] < 0.1


@pytest.mark.parametrize(
    ("variance", "least"),
    [(np.full(13, 0.003), 0.9), (np.linspace(1.0, 0.0, 13) ** 4, 0.6), (np.r_[np.ones(6), np.full(7, 0.1)], 0.6)],
)
def test_small_variance_is_a_collapse_whatever_the_losses(past: Past, variance: np.ndarray, least: float) -> None:
    (finding,) = Spread().findings(
        past({"spread.variance": variance, "spread.distance": 0.8}, {"discriminator": 1.386})
    )
    assert finding.failure == "collapse"
    assert finding.certainty >= least


def test_certainty_is_ordered(past: Past) -> None:
    found = [
        Spread().findings(past({"spread.variance": v, "spread.distance": 0.8}))[0] for v in (0.001, 0.04, 0.1, 0.2)
    ]
    certainties = [finding.certainty for finding in found]
    assert certainties == sorted(certainties, reverse=True)
    assert len(set(certainties)) == 4


@pytest.mark.parametrize("variance", [RISE, np.full(13, 0.9), np.linspace(0.6, 1.4, 13)])
def test_rising_or_full_variance_is_no_collapse(past: Past, variance: np.ndarray) -> None:
    assert not Spread().findings(past({"spread.variance": variance, "spread.distance": 0.5}))


def test_precise_samples_in_few_cells(past: Past) -> None:
    values = {"spread.variance": 1.0, "spread.distance": 0.5, "spread.precision": 0.9, "spread.coverage": 0.2}
    (finding,) = Spread().findings(past({**values, "spread.cells": 0.12}))
    assert finding.failure == "collapse"
    assert not Spread().findings(past({**values, "spread.cells": 0.9}))
    far = Spread().findings(past({**values, "spread.cells": 0.12, "spread.precision": 0.05}))[0]
    assert far.certainty < finding.certainty
    near = {"spread.precision": 0.05, "spread.distance": 0.2}
    assert not Spread().findings(past({**values, "spread.cells": 0.12, **near}))


def test_a_generator_that_still_looks_for_the_data(past: Past) -> None:
    values = {"spread.variance": 0.04, "spread.distance": 0.6}
    assert not Spread().findings(past({**values, "separation.held_out": 0.8}))
    assert Spread().findings(past({**values, "separation.held_out": 1.0}))
    assert Spread().findings(past({**values, "separation.held_out": 0.8}, total=600))


def test_a_variance_that_falls_steadily(past: Past) -> None:
    falling = 1.6 * 0.86 ** np.arange(13)  # to 0.26 after a third of the run
    nearer = {"spread.distance": np.linspace(0.5, 0.1, 13)}  # as one mode of most samples is reached
    values = {"spread.variance": falling, "spread.log_variance": np.log10(falling), **nearer}
    (finding,) = Spread().findings(past(values))
    assert finding.failure == "collapse" and "falls" in finding.evidence
    settling = 1.0 + 1.5 * 0.7 ** np.arange(13)
    assert not Spread().findings(
        past({**values, "spread.variance": settling, "spread.log_variance": np.log10(settling)})
    )


def test_some_regions_missing_far_away(past: Past) -> None:
    values = {"spread.variance": 0.9, "spread.precision": 0.7, "spread.coverage": 0.6, "spread.cells": 0.7}
    (finding,) = Spread().findings(past({**values, "spread.distance": 0.36}))
    assert finding.failure == "collapse"
    assert not Spread().findings(past({**values, "spread.distance": 0.2}))
