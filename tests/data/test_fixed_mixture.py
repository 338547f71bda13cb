"""Points drawn once from a mixture: always the same, with known modes."""

from __future__ import annotations

import pytest
import torch

from detente.data.fixed_mixture import FixedMixture
from detente.data.gaussian_mixture import Mixture, Ring
from detente.data.swiss_roll import SwissRoll
from detente.errors import InvalidValue
from detente.games import presets


def test_points_are_drawn_once_from_the_mixture() -> None:
    ring = Ring()
    fixed = FixedMixture(ring, 80, seed=3)
    points = ring.draw(80, torch.Generator().manual_seed(3))["real"]
    assert fixed.size == 80 and torch.equal(fixed.take(torch.arange(80))["real"], points)
    assert isinstance(fixed, Mixture) and torch.equal(fixed.centres, ring.centres)
    assert fixed.standard_deviation == ring.standard_deviation and torch.equal(fixed.weights, ring.weights)
    batch = fixed.draw(5, torch.Generator().manual_seed(0))["real"]
    assert all((points == point).all(1).any() for point in batch)


def test_invalid_arguments_are_refused() -> None:
    for options in ({"count": 0}, {"seed": -1}, {"mixture": SwissRoll()}):
        with pytest.raises(InvalidValue, match=next(iter(options))):
            FixedMixture(**{"mixture": Ring(), **options})


def test_a_ring_of_fixed_points_is_a_finite_sum() -> None:
    game = presets.ring(points=100, batch=30)
    assert game.size == 100 and [len(part["real"]) for part in game.parts()] == [30, 30, 30, 10]
    assert presets.ring().size is None
