"""The kernel distance against torchmetrics' and a sum over pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.image.kid import poly_mmd

from detente.errors import InvalidValue
from detente.metrics.kernel_distance import KID, kernel_distance, squared_discrepancy


def features(count: int, seed: int, offset: float = 0.0) -> Tensor:
    return torch.randn(count, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + offset


def test_distance_equals_torchmetrics_for_sets_of_equal_size() -> None:
    x, y = features(40, 0), features(40, 1, 0.4)
    assert squared_discrepancy(x, y) == pytest.approx(float(poly_mmd(x, y)), rel=1e-9)


def test_distance_equals_the_sum_over_pairs_for_sets_of_different_sizes() -> None:
    x, y = features(7, 0).numpy(), features(5, 1, 0.4).numpy()

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / 12 + 1) ** 3

    within = [np.mean([kernel(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]) for z in (x, y)]
    expected = sum(within) - 2 * np.mean([kernel(a, b) for a in x for b in y])
    assert squared_discrepancy(torch.from_numpy(x), torch.from_numpy(y)) == pytest.approx(expected, rel=1e-10)


def test_the_estimate_is_unbiased() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = features(2000, 0), features(2000, 1)
    mean, spread = kernel_distance(x, y, subsets=200, size=20, generator=generator)
    assert abs(mean) < 4 * spread / 200**0.5 + 0.01 and spread > 0


def test_subsets_are_drawn_from_the_generator() -> None:
    x, y = features(30, 0), features(30, 1, 1.0)
    whole = kernel_distance(x, y, 3, 30, torch.Generator())
    assert whole == pytest.approx((squared_discrepancy(x, y), 0), abs=1e-12)
    first, again, other = (kernel_distance(x, y, 3, 10, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first == again != other and first[1] > 0


@pytest.mark.parametrize("build", [lambda: KID(subsets=0), lambda: KID(size=1), lambda: KID(size=10.5)])  # pyright: ignore
def test_invalid_arguments_are_refused(build) -> None:
    with pytest.raises(InvalidValue, match="subsets|size"):
        build()
    with pytest.raises(InvalidValue, match="size"):
        kernel_distance(features(5, 0), features(9, 0), 1, 6, torch.Generator())
