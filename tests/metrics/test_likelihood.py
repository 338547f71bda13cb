"""Kernel densities against a plain sum of Gaussians, and against points whose coverage is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from detente.data.gaussian_mixture import Ring
from detente.errors import InvalidValue
from detente.metrics.context import EvaluationContext
from detente.metrics.likelihood import FACTORS, Coverage, LogLikelihood


class FixedContext(EvaluationContext):
    """A subject whose samples are given."""

    def __init__(self, samples: Tensor, data: Any, seed: int = 0) -> None:
        self.samples, self.generator = samples, torch.Generator().manual_seed(seed)  # pyright: ignore
        self._data = data

    @property
    def data(self) -> Any:
        return self._data


def ring(count: int, seed: int, **options: Any) -> Tensor:
    return Ring(standard_deviation=0.05, **options).draw(count, torch.Generator().manual_seed(seed))["real"]


def by_hand(fake: np.ndarray, real: np.ndarray) -> float:
    """Return the log-likelihood with every candidate bandwidth tried by plain loops."""

    def density(points: np.ndarray, at: np.ndarray, h: float) -> np.ndarray:
        kernels = norm.logpdf((at[:, None] - points[None]) / h).sum(2) - 2 * math.log(h)
        return np.logaddexp.reduce(kernels, axis=1) - math.log(len(points))

    pairs = [np.linalg.norm(a - b) for i, a in enumerate(fake) for b in fake[:i]]
    parts = np.arange(len(fake)) % 5
    candidates = np.median(pairs) * FACTORS
    scores = [sum(density(fake[parts != k], fake[parts == k], h).sum() for k in range(5)) for h in candidates]
    return float(density(fake, real, candidates[int(np.argmax(scores))]).mean())


def test_log_likelihood_equals_plain_loops() -> None:
    fake, data = ring(60, 1), Ring(standard_deviation=0.05)
    actual = LogLikelihood(count=60)(FixedContext(fake, data))
    real = data.draw(60, torch.Generator().manual_seed(0))["real"]
    assert actual == pytest.approx(by_hand(fake.double().numpy(), real.double().numpy()), rel=1e-6)


def test_a_perfect_generator_has_higher_likelihood_and_coverage() -> None:
    data = Ring(standard_deviation=0.05)
    complete, half = ring(500, 1), ring(500, 1)
    half = half[half[:, 0] > -0.1].repeat(2, 1)[:500]
    better, worse = FixedContext(complete, data), FixedContext(half + 0.01 * torch.randn(500, 2), data)
    assert LogLikelihood()(better) > LogLikelihood()(worse) + 1
    assert Coverage()(better) > 85 > 70 > Coverage()(worse)


def test_non_finite_samples_give_nan() -> None:
    subject = FixedContext(torch.full((100, 2), math.nan), Ring())
    assert math.isnan(LogLikelihood()(subject)) and math.isnan(Coverage()(subject))


@pytest.mark.parametrize("kind", [LogLikelihood, Coverage])
def test_invalid_arguments_are_refused(kind: type) -> None:
    with pytest.raises(InvalidValue, match="count"):
        kind(count=3)
