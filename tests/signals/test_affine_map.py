"""AffineMap: samples that are the data up to scale and shift."""

import numpy as np
import pytest

from detente.signals.affine_map import AffineMap
from tests.signals.conftest import Observe, Past, plane, plane_game

FAR = {"spread.distance": 0.9, "affine_map.numbers": 784.0}


def test_the_map_is_found(observe: Observe) -> None:
    observation = observe(plane_game())
    observation.__dict__["samples"] = plane(512) / 4 - 2
    values = AffineMap()(observation)
    assert values["factor"] == pytest.approx(4, rel=0.15)
    assert values["offset"] == pytest.approx(2, abs=0.2)
    assert values["mapped_distance"] < 0.02 < Spread(observation)


def Spread(observation: object) -> float:
    return observation.quality.distance  # pyright: ignore[reportAttributeAccessIssue]


def test_a_scale_that_stays_wrong(past: Past) -> None:
    values = {"affine_map.factor": 0.5, "affine_map.offset": 2.0, "affine_map.mapped_distance": 0.05, **FAR}
    (finding,) = AffineMap().findings(past(values))
    assert finding.failure == "data scale"
    few = AffineMap().findings(past({**values, "affine_map.numbers": 1.0}))[0]
    assert few.certainty < finding.certainty


def test_a_mean_far_away(past: Past) -> None:
    values = {"affine_map.factor": np.linspace(9, 1, 13), "affine_map.offset": 300.0, "spread.distance": 500.0}
    (finding,) = AffineMap().findings(past(values))
    assert finding.failure == "data scale"
    fled = {"affine_map.offset": np.linspace(0, 300, 13)}  # the generator ran away from data of a sound scale
    assert not AffineMap().findings(past({**values, **fled}))


@pytest.mark.parametrize(
    "changes",
    [
        {"spread.distance": np.linspace(0.9, 0.2, 13)},  # it still improves
        {"affine_map.mapped_distance": 0.7},  # the map does not explain it
        {"affine_map.factor": 1.1, "affine_map.offset": 0.1},  # the scale is right
        {"affine_map.factor": np.linspace(4, 0.5, 13)},  # the scale still changes
    ],
)
def test_no_fault_of_scale(past: Past, changes: dict[str, object]) -> None:
    values = {"affine_map.factor": 0.5, "affine_map.offset": 2.0, "affine_map.mapped_distance": 0.05, **FAR}
    assert not AffineMap().findings(past({**values, **changes}))
