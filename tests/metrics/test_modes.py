"""Metrics of a known mixture against hand-made samples, closed forms and SciPy."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch import Tensor, nn

from detente.data.gaussian_mixture import FourGaussians, Grid, Mixture, Ring
from detente.data.swiss_roll import SwissRoll
from detente.errors import InvalidValue
from detente.games.adversarial import Adversarial
from detente.games.dirac_gan import DiracGAN
from detente.metrics.context import EvaluationContext
from detente.metrics.mode_coverage import HighQualityFraction, ModesCovered
from detente.metrics.mode_divergence import ModeDivergence
from detente.state import State

METRICS = [ModesCovered(), HighQualityFraction(), ModeDivergence()]


class FixedGame:
    """Replaces a game whose generator returns given samples."""

    def __init__(self, data: Mixture, samples: Tensor) -> None:
        self.data, self.samples = data, samples

    def sample(self, state: State, count: int, generator: torch.Generator) -> Tensor:
        return self.samples


def subject_of(data: Mixture, samples: Tensor) -> EvaluationContext:
    game: Any = FixedGame(data, samples)
    return EvaluationContext(game, State(torch.tensor(0), {}), torch.Generator(), samples=len(samples))


def real(data: Any, count: int = 20_000) -> Tensor:
    return data.draw(count, torch.Generator().manual_seed(0))["real"]


@pytest.mark.parametrize("data", [Ring(), Grid(), FourGaussians(legacy_weights=True)], ids=repr)
def test_real_samples_have_the_best_values(data) -> None:
    subject = subject_of(data, real(data))
    assert ModesCovered()(subject) == len(data.centres)
    assert HighQualityFraction()(subject) == pytest.approx(100 * (1 - math.exp(-4.5)), abs=0.3)
    assert ModeDivergence()(subject) < 3 * (len(data.centres) - 1) / (8 * 20_000)


@pytest.mark.parametrize("sigmas", [1.0, 2.0])
def test_the_fraction_within_a_distance_equals_the_rayleigh_distribution(sigmas: float) -> None:
    share = HighQualityFraction(sigmas)(subject_of(Ring(), real(Ring())))
    assert share == pytest.approx(100 * (1 - math.exp(-(sigmas**2) / 2)), abs=1.5)


def test_the_limit_is_three_standard_deviations() -> None:
    centre, step = Ring().centres[2], torch.tensor([1.0, 0.0])
    samples = torch.stack([centre + 0.0299 * step, centre - 0.0301 * step, centre + torch.tensor([0.022, 0.022])])
    subject = subject_of(Ring(), samples)
    assert ModesCovered()(subject) == 1 and ModesCovered(sigmas=2)(subject) == 0
    assert HighQualityFraction()(subject) == pytest.approx(100 / 3)
    assert HighQualityFraction(sigmas=3.2)(subject) == pytest.approx(100)


def test_least_counts_samples_of_each_mode() -> None:
    samples = Ring().centres[[0, 0, 0, 1, 1, 5]]
    counts = [ModesCovered(least=least)(subject_of(Ring(), samples)) for least in (1, 2, 3, 4)]
    assert counts == [3, 2, 1, 0]


def test_a_sample_between_overlapping_modes_belongs_to_the_nearer_one() -> None:
    data = Ring(modes=2, standard_deviation=1.0, radius=0.5)
    assert ModesCovered()(subject_of(data, torch.tensor([[0.1, 0.0]]))) == 1


@pytest.mark.parametrize("seed", range(5))
def test_divergence_equals_scipy(seed: int) -> None:
    data = FourGaussians(legacy_weights=seed % 2 == 0)
    modes = torch.randint(4 - seed % 3, (57,), generator=torch.Generator().manual_seed(seed))
    shares = np.bincount(modes.numpy(), minlength=4) / 57
    expected = jensenshannon(shares, data.weights.double().numpy()) ** 2
    assert ModeDivergence()(subject_of(data, 1.3 * data.centres[modes])) == pytest.approx(expected, abs=1e-7)


def test_divergence_of_one_mode_and_of_all_modes() -> None:
    for k in (1, 2, 8, 25):
        data = Ring(modes=k)
        dropped = ModeDivergence()(subject_of(data, data.centres[:1].repeat(10, 1)))
        p, m = 1 / k, (1 + 1 / k) / 2
        assert dropped == pytest.approx((-math.log(m) + p * math.log(p / m) + (1 - p) * math.log(2)) / 2, abs=1e-6)
        assert dropped < math.log(2)
        assert ModeDivergence()(subject_of(data, data.centres)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_non_finite_sample_makes_every_value_nan(bad: float) -> None:
    samples = torch.cat([Ring().centres[:2], torch.tensor([[bad, 0.0]])])
    for metric in (ModesCovered(), HighQualityFraction(), ModeDivergence()):
        assert math.isnan(metric(subject_of(Ring(), samples)))
        assert math.isfinite(metric(subject_of(Ring(), samples[:2])))


def gan(data: object) -> Adversarial:
    return Adversarial(nn.Linear(2, 2), nn.Linear(2, 1), data, latent=2, batch=4)


@pytest.mark.parametrize("metric", METRICS, ids=repr)
def test_they_apply_if_the_modes_are_known(metric) -> None:
    assert metric.applies(gan(Ring())) and not metric.applies(gan(SwissRoll())) and not metric.applies(DiracGAN())


@pytest.mark.parametrize("metric", METRICS, ids=repr)
def test_measuring_changes_nothing_and_repeats(metric) -> None:
    game = gan(Ring(standard_deviation=0.3))
    state = State(torch.tensor(0), *game.initial(torch.Generator().manual_seed(0)))
    before, random_state = copy.deepcopy(state.flat()), torch.get_rng_state()
    first, second = (
        metric(EvaluationContext(game, state, torch.Generator().manual_seed(1), samples=100)) for _ in range(2)
    )
    assert isinstance(first, float) and first == second
    assert all(torch.equal(before[name], tensor) for name, tensor in state.flat().items())
    assert torch.equal(random_state, torch.get_rng_state())


@pytest.mark.parametrize(
    "build",
    [lambda: ModesCovered(sigmas=0), lambda: ModesCovered(least=0), lambda: HighQualityFraction(sigmas=math.inf)],
)
def test_invalid_arguments_are_refused(build) -> None:
    with pytest.raises(InvalidValue, match="sigmas|least"):
        build()
