"""Whether samples count as a cure: good ones do; garbage between modes, missing modes and copies do not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from detente import Adversarial, methods
from detente.checks import off
from detente.data.arrays import Arrays
from detente.games.conditional import Conditional
from detente.games.gan import gan_of
from detente.rescuing.judgement import Judgement, judge, label_agreement
from detente.signals.reference import Reference


def ring(count: int, seed: int, deviation: float = 0.15) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    angle = torch.randint(8, (count,), generator=generator) * (2 * math.pi / 8)
    return torch.stack([angle.cos(), angle.sin()], 1) * 2 + deviation * torch.randn(count, 2, generator=generator)


def judged(real: Tensor, samples: Tensor) -> Judgement:
    with off():
        numbers = real[0].numel()
        maker = nn.Sequential(nn.Linear(2, numbers), nn.Unflatten(1, real.shape[1:]))
        game = Adversarial(maker, nn.Sequential(nn.Flatten(), nn.Linear(numbers, 1)), real, 2, batch=8)
    return judge(gan_of(game), samples, Reference(real))


REAL = ring(4000, 0)
CLOUD = torch.randn(2048, 2, generator=torch.Generator().manual_seed(1))


def test_new_samples_of_the_same_kind_are_a_cure() -> None:
    judgement = judged(REAL, ring(2048, 1))
    assert judgement.cured
    assert judgement.near == pytest.approx(1, abs=0.05)
    assert judgement.reached == pytest.approx(1, abs=0.05)
    assert judgement.copies == pytest.approx(1, abs=0.1)


def test_garbage_between_the_modes_is_no_cure() -> None:
    mixed = torch.cat([ring(800, 1), CLOUD[:1248]])[torch.randperm(2048, generator=torch.Generator().manual_seed(2))]
    judgement = judged(REAL, mixed)
    assert judgement.quality.cells > 0.75  # every mode has its samples
    assert any("real ones" in fault for fault in judgement.faults)
    assert not judgement.cured


def test_missing_modes_are_no_cure() -> None:
    samples = ring(8000, 1)
    judgement = judged(REAL, samples[samples[:, 0] > 0][:2048])
    assert judgement.near > 0.9
    assert not judgement.cured


def test_copies_are_no_cure_where_the_data_allow_to_tell() -> None:
    copies = judged(REAL, REAL[:2048])
    assert copies.copies == 0
    assert any("copies" in fault for fault in copies.faults)
    categories = torch.eye(8)[torch.arange(2000) % 8]
    soft = categories + 0.02 * torch.randn(2000, 8, generator=torch.Generator().manual_seed(0))
    assert math.isnan(judged(categories, soft).copies), "a set of categories holds all there is"
    assert judged(categories, soft).cured
    pictures = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)).repeat(100, 1, 1, 1)
    assert not judged(pictures, pictures[torch.randperm(800, generator=torch.Generator().manual_seed(0))]).cured


def test_data_of_one_point_have_no_distances() -> None:
    point = judged(torch.zeros(64, 2), torch.zeros(64, 2))
    assert math.isnan(point.near) and math.isnan(point.copies)
    assert point.cured


def test_samples_that_are_not_finite() -> None:
    assert not judged(REAL, torch.full((64, 2), math.nan)).cured


def test_samples_a_third_of_a_deviation_away_are_no_cure() -> None:
    generator = torch.Generator().manual_seed(3)
    real, samples = torch.randn(4000, 2, generator=generator), torch.randn(2048, 2, generator=generator)
    assert judged(real, samples).cured
    shifted = judged(real, samples + 0.35)
    assert ["distance" in fault for fault in shifted.faults] == [True]


def test_sequences_may_be_a_little_away_from_the_surface_of_real_ones() -> None:
    def waves(count: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        phase, frequency = (
            6.3 * torch.rand(count, 1, generator=generator),
            1 + torch.rand(count, 1, generator=generator),
        )
        return (phase + frequency * torch.linspace(0, 6.3, 24)).sin()[:, None]

    noise = torch.randn(1024, 1, 24, generator=torch.Generator().manual_seed(2))
    assert judged(waves(2000, 0), waves(1024, 1) + 0.15 * noise).cured
    covariance = torch.linalg.cholesky(waves(2000, 0)[:, 0].T.cov() + 1e-4 * torch.eye(24))
    alike = judged(waves(2000, 0), noise @ covariance.T)  # the same mean and covariance, but no waves
    assert any("near real ones" in fault for fault in alike.faults)


@pytest.mark.parametrize("uses", [True, False])
def test_labels_count(uses: bool) -> None:
    class Maker(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
            angle = (labels if uses else labels.flip(0)) * (2 * math.pi / 8)
            return self.scale * torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * latents

    class Judge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 1)

        def forward(self, samples: Tensor, labels: Tensor) -> Tensor:
            return self.linear(samples)

    labels = torch.arange(2000) % 8
    angle = labels * (2 * math.pi / 8)
    real = torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(
        2000, 2, generator=torch.Generator().manual_seed(0)
    )
    with off():
        game = Conditional(Maker(), Judge(), Arrays(real, labels), 2, batch=64)
    method = methods.alternating(learning_rate=1e-3).playing(game)
    agreement = label_agreement(gan_of(game), method.initial(game, torch.Generator().manual_seed(0)))
    assert agreement == pytest.approx(1.0, abs=0.05) if uses else agreement < 0.3
