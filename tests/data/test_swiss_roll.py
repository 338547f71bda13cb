"""The swiss roll against scikit-learn's and against its formula."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy.stats import ks_2samp
from sklearn.datasets import make_swiss_roll

from detente.data.swiss_roll import SwissRoll
from detente.errors import InvalidValue


def test_points_have_the_distribution_of_scikit_learn() -> None:
    points = SwissRoll().draw(20_000, torch.Generator().manual_seed(0))["real"].numpy()
    expected = make_swiss_roll(20_000, noise=0.25, random_state=0)[0][:, [0, 2]] / 7.5
    for direction in ([1, 0], [0, 1], [1, 1], [1, -1]):
        result: Any = ks_2samp(points @ direction, expected @ direction)
        assert result.pvalue > 1e-3


def test_without_noise_the_radius_is_the_angle() -> None:
    points = SwissRoll(noise=0, scale=1).draw(5000, torch.Generator().manual_seed(1))["real"].double()
    turn = points.norm(dim=1)
    assert 1.5 * math.pi <= float(turn.min()) < 4.8 and 14.0 < float(turn.max()) <= 4.5 * math.pi + 1e-5
    torch.testing.assert_close(points, torch.stack([turn * turn.cos(), turn * turn.sin()], 1), rtol=0, atol=1e-4)
    assert float(turn.mean()) == pytest.approx(3 * math.pi, rel=0.01)


def test_draws_repeat_with_the_generator() -> None:
    first, second, third = (SwissRoll().draw(32, torch.Generator().manual_seed(s))["real"] for s in (0, 0, 1))
    assert torch.equal(first, second) and not torch.equal(first, third)
    assert first.shape == (32, 2) and first.dtype == torch.float32


@pytest.mark.parametrize("options", [{"noise": -1.0}, {"noise": math.inf}, {"scale": 0.0}])
def test_invalid_arguments_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InvalidValue, match=next(iter(options))):
        SwissRoll(**options)
