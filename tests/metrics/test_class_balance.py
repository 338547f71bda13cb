"""Class balance: compared with SciPy's entropy and with known values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipys

from detente.data.arrays import Arrays
from detente.data.digits import Digits
from detente.metrics.class_balance import (
    ClassEntropy,
    ClassTotalVariation,
    class_histogram,
    entropy,
    total_variation,
)


def test_histogram_counts_the_likeliest_class() -> None:
    probabilities = torch.tensor([[0.2, 0.5, 0.3], [0.9, 0.1, 0.0], [0.3, 0.4, 0.3], [0.0, 0.6, 0.4]])
    assert class_histogram(probabilities).tolist() == [0.25, 0.75, 0]


@pytest.mark.parametrize("seed", range(3))
def test_entropy_equals_scipy_and_variation_is_half_the_l1_distance(seed: int) -> None:
    shares = torch.rand(10, generator=torch.Generator().manual_seed(seed)).double()
    shares[seed] = 0
    shares /= shares.sum()
    assert entropy(shares) == pytest.approx(float(scipys(shares.numpy())), rel=1e-12)
    assert total_variation(shares) == pytest.approx(0.5 * np.abs(shares.numpy() - 0.1).sum(), rel=1e-12)


def test_values_of_uniform_and_one_hot_shares() -> None:
    even, single = torch.full((10,), 0.1), torch.eye(10)[4]
    assert entropy(even) == pytest.approx(math.log(10), rel=1e-6) and entropy(single) == 0
    assert total_variation(even) == 0 and total_variation(single) == pytest.approx(0.9)
    assert total_variation(single, torch.eye(10)[5]) == 1


def test_on_samples_of_a_game(random_classifier, subject_of, images) -> None:
    subject = subject_of(Digits(), images)
    classes = random_classifier.network(images).argmax(1)
    shares = np.bincount(classes.numpy(), minlength=10) / 60
    assert ClassEntropy().applies(subject.game) and ClassTotalVariation().applies(subject.game)
    assert ClassEntropy()(subject) == pytest.approx(float(scipys(shares)), rel=1e-9) and scipys(shares) > 0.5
    assert ClassTotalVariation()(subject) == pytest.approx(0.5 * np.abs(shares - 0.1).sum(), rel=1e-9)
    assert subject.game.sample_calls == 1
    lost = subject_of(Digits(), images * math.nan)
    assert math.isnan(ClassEntropy()(lost)) and math.isnan(ClassTotalVariation()(lost))


def test_a_restricted_set_is_compared_with_its_own_classes(random_classifier, subject_of, images) -> None:
    classes = (2, 7)
    shares = np.bincount(random_classifier.network(images).argmax(1).numpy(), minlength=10) / 60
    even = np.isin(np.arange(10), classes) / 2
    distance = ClassTotalVariation()(subject_of(Digits(classes=classes), images))
    assert distance == pytest.approx(0.5 * np.abs(shares - even).sum(), rel=1e-9)


def test_they_do_not_apply_without_a_classifier(own_cache, subject_of, images) -> None:
    for metric in (ClassEntropy(), ClassTotalVariation()):
        assert not metric.applies(subject_of(Digits(), images).game)


def test_they_do_not_apply_to_other_sets(random_classifier, subject_of, images) -> None:
    for data in (Arrays(images), None):
        assert not ClassEntropy().applies(subject_of(data, images).game)
