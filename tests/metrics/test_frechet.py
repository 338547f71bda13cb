"""The Fréchet distance against torchmetrics', a matrix square root, singular values and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor
from torchmetrics.image.fid import _compute_fid

from detente.data.digits import Digits
from detente.metrics import frechet
from detente.metrics.features.extractor import of_data
from detente.metrics.frechet import ClassifierFrechetDistance, Moments, frechet_distance, moments


def features(count: int, size: int, seed: int, offset: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(size, size, generator=generator, dtype=torch.float64)
    mixing = mixing * torch.linspace(0, -6, size, dtype=torch.float64).exp()
    return torch.randn(count, size, generator=generator, dtype=torch.float64) @ mixing + offset


def by_singular_values(x: Tensor, y: Tensor) -> float:
    """Return the distance from the samples themselves: tr √(Σ₁Σ₂) is the nuclear norm of A₁ᵀA₂, Σᵢ = AᵢAᵢᵀ."""
    a, b = ((samples - samples.mean(0)).numpy() / math.sqrt(len(samples) - 1) for samples in (x, y))
    nuclear = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float((x.mean(0) - y.mean(0)).square().sum() + (a**2).sum() + (b**2).sum() - 2 * nuclear)


def test_moments_equal_numpy() -> None:
    x = features(50, 7, 0, 3.0)
    actual = moments(x.float())
    np.testing.assert_allclose(actual.mean, x.float().double().numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(actual.covariance, np.cov(x.float().double().numpy().T), rtol=1e-9)


@pytest.mark.parametrize("block", [512, 7])
@pytest.mark.parametrize("size", [1, 5, 64])
def test_distance_equals_torchmetrics_and_scipy(size: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frechet, "BLOCK", block)
    first, second = moments(features(400, size, 1)), moments(features(300, size, 2, 0.3))
    distance = frechet_distance(first, second)
    assert distance == pytest.approx(
        float(_compute_fid(first.mean, first.covariance, second.mean, second.covariance)), rel=1e-7
    )
    root = sqrtm((first.covariance @ second.covariance).numpy())
    trace = float(first.covariance.trace() + second.covariance.trace()) - 2 * np.trace(np.atleast_2d(root)).real
    assert distance == pytest.approx(float((first.mean - second.mean).square().sum()) + trace, rel=1e-6)


def test_closed_forms() -> None:
    a, b, shift = (torch.tensor(row).double() for row in ([4.0, 9.0, 0.0], [1.0, 0.0, 25.0], [1.0, 2.0, 0.0]))
    first, second = Moments(shift * 0, a.diag()), Moments(shift, b.diag())
    assert frechet_distance(first, second) == pytest.approx(5 + 1 + 9 + 25, rel=1e-12)
    same = moments(features(100, 20, 5))
    assert frechet_distance(same, same) == pytest.approx(0, abs=1e-9 * float(same.covariance.trace()))


@pytest.mark.parametrize("counts", [(20, 25), (20, 500), (500, 20), (2, 2)])
def test_fewer_samples_than_features(counts: tuple[int, int]) -> None:
    x, y = features(counts[0], 64, 1), features(counts[1], 64, 2, 0.1)
    assert frechet_distance(moments(x), moments(y)) == pytest.approx(by_singular_values(x, y), rel=1e-9)
    scale = float(moments(x).covariance.trace())
    assert frechet_distance(moments(x), moments(x)) == pytest.approx(0, abs=1e-6 * scale)


def test_features_that_are_always_zero_and_samples_that_are_all_the_same() -> None:
    x, y = features(200, 30, 1), features(150, 30, 2)
    x[:, ::3], y[:, ::5] = 0, 0
    assert frechet_distance(moments(x), moments(y)) == pytest.approx(by_singular_values(x, y), rel=1e-9)
    collapsed = moments(torch.ones(10, 30))
    expected = float((moments(y).mean - 1).square().sum() + moments(y).covariance.trace())
    assert frechet_distance(moments(y), collapsed) == pytest.approx(expected, rel=1e-12)


def test_on_the_classifiers_features(random_classifier, subject_of, images) -> None:
    metric, data = ClassifierFrechetDistance(), Digits(classes=(3,))
    subject = subject_of(data, images)
    assert metric.applies(subject.game)
    distance = metric(subject)
    x, y = random_classifier.features(data.take(torch.arange(500))["real"]), random_classifier.features(images)
    assert distance == pytest.approx(by_singular_values(x.double(), y.double()), rel=1e-5)
    assert metric(subject_of(data, data.take(torch.arange(500))["real"])) == pytest.approx(0, abs=1e-6 * distance)
    assert math.isnan(metric(subject_of(data, images * math.nan)))
    assert math.isnan(metric(subject_of(data, images[:1])))
    assert of_data(data, random_classifier) is of_data(data, random_classifier)
