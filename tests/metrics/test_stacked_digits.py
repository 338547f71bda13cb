"""The modes of stacked digits, counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from detente.data.digits import Digits
from detente.data.stacked_mnist import StackedMnist
from detente.metrics.stacked_digits import StackedDivergence, StackedModes, divergence_from_uniform, modes_found


def test_counts_and_divergence() -> None:
    modes = torch.tensor([5, 5, 999, 0, 5, 0])
    assert modes_found(modes) == 3
    shares = np.bincount(modes.numpy(), minlength=1000) / 6
    assert divergence_from_uniform(modes) == pytest.approx(float(entropy(shares, np.full(1000, 1e-3))), rel=1e-12)


def test_values_of_uniform_and_constant_modes() -> None:
    modes = torch.arange(1000).repeat(3)
    assert modes_found(modes) == 1000 and divergence_from_uniform(modes) == pytest.approx(0, abs=1e-12)
    assert divergence_from_uniform(torch.zeros(9, dtype=torch.int64)) == pytest.approx(math.log(1000))


def test_values_of_a_perfect_generator() -> None:
    draws = [torch.randint(1000, (2048,), generator=torch.Generator().manual_seed(seed)) for seed in range(20)]
    assert np.mean([modes_found(modes) for modes in draws]) == pytest.approx(871, abs=6)
    assert np.mean([divergence_from_uniform(modes) for modes in draws]) == pytest.approx(0.25, abs=0.03)


def test_each_channel_is_a_digit(random_classifier, subject_of, images) -> None:
    stacked = torch.cat([images.roll(shift, 0) for shift in (0, 7, 20)], dim=1)
    subject = subject_of(StackedMnist(), stacked)
    classes = random_classifier.network(images).argmax(1)
    by_hand = {tuple(int(classes.roll(shift)[k]) for shift in (0, 7, 20)) for k in range(60)}
    assert StackedModes().applies(subject.game) and StackedDivergence().applies(subject.game)
    assert StackedModes()(subject) == len(by_hand) > 3
    codes = 100 * classes + 10 * classes.roll(7) + classes.roll(20)
    assert StackedDivergence()(subject) == pytest.approx(divergence_from_uniform(codes), rel=1e-12)
    assert subject.game.sample_calls == 1
    assert math.isnan(StackedModes()(subject_of(StackedMnist(), stacked * math.nan)))


def test_they_apply_to_stacked_digits_with_a_classifier(own_cache, subject_of, images) -> None:
    assert not StackedModes().applies(subject_of(StackedMnist(), images).game)
    assert not StackedDivergence().applies(subject_of(Digits(), images).game)
