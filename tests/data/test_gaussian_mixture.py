"""Mixtures of Gaussians against their closed forms."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest
import torch

from detente.data.gaussian_mixture import FourGaussians, Grid, Mixture, Ring
from detente.errors import InvalidValue

MIXTURES = [
    Ring(),
    Ring(modes=3, standard_deviation=0.2, radius=2.0, mode_choice="random"),
    Grid(),
    Grid(side=3, scale=0.5, mode_choice="deterministic"),
    FourGaussians(),
    FourGaussians(legacy_weights=True),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def nearest(mixture: Mixture, points: torch.Tensor) -> torch.Tensor:
    return torch.cdist(points, mixture.centres).argmin(dim=1)


@pytest.mark.parametrize("mixture", MIXTURES, ids=repr)
def test_moments_are_those_of_the_mixture(mixture) -> None:
    points = mixture.draw(90_000, generator())["real"].double()
    weights, centres = mixture.weights.double(), mixture.centres.double()
    mean = weights @ centres
    second = mixture.standard_deviation**2 * torch.eye(2) + centres.T @ (weights[:, None] * centres)
    tolerance = 5 * float(second.trace()) / math.sqrt(90_000)
    torch.testing.assert_close(points.mean(0), mean, rtol=0, atol=max(tolerance, 0.02))
    torch.testing.assert_close(points.T @ points / len(points), second, rtol=0, atol=max(tolerance, 0.02))


@pytest.mark.parametrize("mixture", MIXTURES, ids=repr)
def test_spread_within_a_mode_is_the_standard_deviation(mixture) -> None:
    points = mixture.draw(20_000, generator(1))["real"]
    gaps = points - mixture.centres[nearest(mixture, points)]
    if mixture.standard_deviation < 0.1 * float(torch.pdist(mixture.centres).min()):
        assert float(gaps.std()) == pytest.approx(mixture.standard_deviation, rel=0.02)
    assert mixture.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("mixture", MIXTURES, ids=repr)
def test_draws_repeat_with_the_generator_and_only_with_it(mixture) -> None:
    torch.manual_seed(5)
    first, second = mixture.draw(64, generator(3))["real"], mixture.draw(64, generator(3))["real"]
    assert torch.equal(first, second)
    assert not torch.equal(first, mixture.draw(64, generator(4))["real"])
    assert first.shape == (64, *mixture.shape) and first.dtype == torch.float32
    global_state = torch.get_rng_state()
    mixture.draw(64, generator(3))
    assert torch.equal(global_state, torch.get_rng_state())


def test_deterministic_modes_alternate_and_are_equally_frequent() -> None:
    ring = Ring()
    modes = nearest(ring, ring.draw(512, generator())["real"])
    assert torch.equal(modes, torch.arange(512) % 8)
    assert torch.bincount(modes).tolist() == [64] * 8


def test_random_modes_are_uniform_but_not_equally_frequent() -> None:
    ring = Ring(mode_choice="random")
    counts = torch.bincount(nearest(ring, ring.draw(8000, generator())["real"]), minlength=8).double()
    assert 1 < float(((counts - 1000) ** 2 / 1000).sum()) < 24.3  # chi-squared, 7 degrees, 0.1 %


@pytest.mark.parametrize("modes", [1, 2, 5, 8, 10])
def test_the_first_and_last_mode_do_not_coincide(modes: int) -> None:
    centres = Ring(modes=modes, radius=2.0).centres
    torch.testing.assert_close(centres.norm(dim=1), torch.full((modes,), 2.0))
    if modes > 1:
        assert float(torch.pdist(centres).min()) == pytest.approx(4 * math.sin(math.pi / modes), rel=1e-6)


def test_the_grid_has_25_different_centres_two_apart() -> None:
    assert {tuple(c) for c in Grid().centres.tolist()} == {(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}


def test_scale_is_applied_when_the_grid_is_built() -> None:
    grid = Grid(scale=1 / 2.828)
    assert grid.standard_deviation == pytest.approx(0.05 / 2.828)
    assert float(grid.centres.max()) == pytest.approx(4 / 2.828)
    assert Grid(**asdict(grid)) == grid and replace(grid, mode_choice="random") == grid


def test_legacy_weights_double_the_first_mode() -> None:
    four = FourGaussians(legacy_weights=True)
    counts = torch.bincount(nearest(four, four.draw(50_000, generator())["real"])) / 50_000
    assert four.centres.tolist() == [[0, 1], [1, 0], [0, -1], [-1, 0]]
    torch.testing.assert_close(counts, torch.tensor([0.4, 0.2, 0.2, 0.2]), rtol=0, atol=0.01)
    assert FourGaussians().weights.tolist() == [0.25] * 4


@pytest.mark.parametrize("mixture", MIXTURES, ids=repr)
def test_mixtures_follow_the_protocol(mixture) -> None:
    assert mixture.size is None and isinstance(mixture, Mixture)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Ring(modes=0), "modes: got 0"),
        (lambda: Ring(modes=2.5), "modes: got 2.5"),  # type: ignore[arg-type]
        (lambda: Ring(standard_deviation=math.nan), "standard_deviation: got nan"),
        (lambda: Ring(radius=-1), "radius: got -1"),
        (lambda: Ring(mode_choice="randon"), "Did you mean 'random'"),  # type: ignore[arg-type]
        (lambda: Grid(side=0), "side: got 0"),
        (lambda: Grid(scale=0), "scale: got 0"),
        (lambda: FourGaussians(standard_deviation=0), "standard_deviation: got 0"),
        (lambda: FourGaussians(legacy_weights=1), "legacy_weights: got 1"),  # type: ignore[arg-type]
    ],
)
def test_invalid_arguments_are_refused(build, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        build()
