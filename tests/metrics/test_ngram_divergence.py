"""n-grams counted by hand, and SciPy's Jensen-Shannon distance."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from detente.data.digits import Digits
from detente.data.text import Text
from detente.errors import InvalidValue
from detente.metrics.ngram_divergence import NgramDivergence, jensen_shannon, ngram_shares


def by_hand(lines: np.ndarray, others: np.ndarray, n: int) -> float:
    """Return the divergence by counting strings."""
    counts = [
        Counter(tuple(line[k : k + n]) for line in text.tolist() for k in range(len(line) - n + 1))
        for text in (lines, others)
    ]
    either = sorted(set(counts[0]) | set(counts[1]))
    p, q = (np.array([count[gram] for gram in either], float) for count in counts)
    return jensenshannon(p, q) ** 2


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_divergence_equals_scipy_on_counted_strings(n: int) -> None:
    draw = np.random.default_rng(n)
    first, second = draw.integers(0, 4, (13, 9)), draw.integers(0, 256, (6, 9)) % draw.integers(1, 256, (6, 9))
    divergence = jensen_shannon(ngram_shares(first, n), ngram_shares(second.astype(np.uint8), n))
    assert divergence == pytest.approx(by_hand(first, second, n), rel=1e-9)


def test_divergence_of_equal_and_of_disjoint_sets() -> None:
    first = ngram_shares(np.array([[1, 2, 1, 2]]), 2)
    assert jensen_shannon(first, first) == 0
    assert jensen_shannon(first, ngram_shares(np.array([[3, 4]]), 2)) == pytest.approx(math.log(2))
    with pytest.raises(InvalidValue, match="length"):
        ngram_shares(np.zeros((2, 3), np.uint8), 4)


@pytest.mark.parametrize("n", [1, 4])
def test_on_samples_of_a_game(n: int, subject_of) -> None:
    data, metric = Text(), NgramDivergence(n)
    lines = data.arrays[0]
    assert metric.title == f"{n}-gram divergence"
    assert metric.applies(subject_of(data, torch.zeros(1)).game)
    whole = data.take(torch.arange(data.size))["real"]
    assert metric(subject_of(data, whole)) == pytest.approx(0, abs=1e-12)
    mixed = torch.randn(50, *data.shape, generator=torch.Generator().manual_seed(0))
    expected = by_hand(mixed.argmax(1).numpy(), lines, n)
    assert metric(subject_of(data, mixed)) == pytest.approx(expected, rel=1e-9)
    assert metric(subject_of(data, whole[:500])) < expected
    assert math.isnan(metric(subject_of(data, mixed * math.nan)))


def test_it_applies_to_text(subject_of) -> None:
    assert not NgramDivergence().applies(subject_of(Digits(), torch.zeros(1)).game)
    with pytest.raises(InvalidValue, match="length"):
        NgramDivergence(5)
