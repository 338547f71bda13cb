"""Precision, recall, density and coverage against scikit-learn's neighbours, and where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from detente.data.digits import Digits
from detente.errors import InvalidValue
from detente.metrics import neighbours
from detente.metrics.features.extractor import of_data
from detente.metrics.neighbours import (
    FeatureCoverage,
    FeatureDensity,
    FeaturePrecision,
    FeatureRecall,
    neighbourhoods,
)


def points(count: int, seed: int, offset: float = 0.0) -> Tensor:
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed)) + offset


def by_sklearn(x: np.ndarray, y: np.ndarray, k: int) -> tuple[float, ...]:
    reach, other = (NearestNeighbors(n_neighbors=k).fit(z).kneighbors()[0][:, -1] for z in (x, y))
    distances = pairwise_distances(x, y)
    inside = distances <= reach[:, None]
    recalled = (distances <= other).any(1).mean()
    return inside.any(0).mean(), recalled, inside.sum(0).mean() / k, inside.any(1).mean()


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("offset", [0.0, 1.0, 30.0])
def test_values_equal_sklearn_neighbours(k: int, offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "PART", 33)
    x, y = points(90, 0).double(), points(70, 1, offset).double()
    actual = neighbourhoods(x, y, k)
    assert actual == pytest.approx(by_sklearn(x.numpy(), y.numpy(), k), rel=1e-12)
    assert (sum(actual) == 0) == (offset == 30)


def test_a_perfect_generator_and_one_of_few_modes() -> None:
    x = points(500, 0)
    assert neighbourhoods(x, x.clone(), 3)[:2] == (1, 1)
    perfect, collapsed = neighbourhoods(x, points(500, 1), 5), neighbourhoods(x, 0.05 * points(500, 1), 5)
    assert perfect.density == pytest.approx(1, abs=0.1) and perfect.coverage > 0.9
    assert collapsed.precision == 1 and collapsed.recall < 0.1 and collapsed.coverage < 0.2


def test_on_the_classifiers_features(random_classifier, subject_of, images) -> None:
    subject = subject_of(Digits(classes=(3,)), images)
    real = of_data(subject.data, random_classifier)[:60].double().numpy()
    fake = random_classifier.features(images).double().numpy()
    metrics = (FeaturePrecision(), FeatureRecall(), FeatureDensity(), FeatureCoverage())
    assert all(metric.applies(subject.game) for metric in metrics)
    three, five = by_sklearn(real, fake, 3), by_sklearn(real, fake, 5)
    assert [metric(subject) for metric in metrics] == pytest.approx([100 * n for n in (*three[:2], *five[2:])])
    assert subject.game.sample_calls == 1
    data = Digits(classes=(3,))
    few, none = subject_of(data, images[:3]), subject_of(data, images * math.inf)
    assert all(math.isnan(metric(subject_without_value)) for metric in metrics for subject_without_value in (few, none))


@pytest.mark.parametrize("kind", [FeaturePrecision, FeatureRecall, FeatureDensity, FeatureCoverage])
def test_invalid_arguments_are_refused(kind) -> None:
    with pytest.raises(InvalidValue, match="neighbours"):
        kind(neighbours=0)
    with pytest.raises(InvalidValue, match="neighbours"):
        neighbourhoods(points(5, 0), points(9, 1), 5)
