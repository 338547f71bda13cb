"""Separation: the area under the curve, the accuracies, and a discriminator too strong or too weak."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from detente.signals.base import separation
from detente.signals.separation import Separation
from tests.signals.conftest import Observe, Past, plane_game


def test_area_is_that_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(40, generator=generator).round(), torch.randn(50, generator=generator).round() - 0.5
    expected = roc_auc_score([1] * 40 + [0] * 50, torch.cat([first, second]))
    assert separation(first, second) == pytest.approx(expected)


def test_values_of_known_scores(observe: Observe) -> None:
    observation = observe(plane_game())
    scores = torch.linspace(1, 2, 512, dtype=torch.float64)
    observation.__dict__.update(fake_scores=-scores, seen_scores=scores, held_out_scores=scores)
    values = Separation()(observation)
    assert values["held_out"] == values["seen"] == values["accuracy_held_out"] == values["accuracy_fake"] == 1
    assert values["gap"] == pytest.approx(3)
    loss = 2 * float(torch.nn.functional.softplus(-scores).mean())
    assert values["advantage"] == pytest.approx(2 * math.log(2) - loss)


def test_least_loss_of_a_constant_by_objective(observe: Observe) -> None:
    from detente.signals.separation import _constant

    for objective, least, score in (("non_saturating", 2 * math.log(2), 0.0), ("least_squares", 0.25, 0.5)):
        assert _constant(observe(plane_game(objective=objective))) == (pytest.approx(least), pytest.approx(score))
    assert _constant(observe(plane_game(objective="hinge"))) == (pytest.approx(2), None)
    assert _constant(observe(plane_game(objective="wasserstein"))) == (pytest.approx(0), None)


FAR = {"spread.distance": 0.9, "separation.relative_deviation": 1.0}


def test_perfect_separation_without_progress(past: Past) -> None:
    values = {**FAR, "separation.held_out": 1.0, "separation.gap": np.linspace(1, 20, 13)}
    (finding,) = Separation().findings(past(values, {"generator": np.linspace(0.7, 12, 600)}))
    assert finding.failure == "discriminator overpowers"
    assert finding.certainty > 0.8


def test_a_rising_generator_loss_with_good_samples_is_healthy(past: Past) -> None:
    values = {**FAR, "spread.distance": 0.05, "separation.held_out": 0.99, "separation.gap": np.linspace(1, 9, 13)}
    assert not Separation().findings(past(values, {"generator": np.linspace(0.7, 6, 600)}))


def test_perfect_separation_of_samples_that_improve_is_healthy(past: Past) -> None:
    values = {**FAR, "spread.distance": np.linspace(0.9, 0.3, 13), "separation.held_out": 1.0, "separation.gap": 5.0}
    assert not Separation().findings(past(values))


def test_chance_while_samples_are_far(past: Past) -> None:
    (finding,) = Separation().findings(past({**FAR, "separation.held_out": 0.5}))
    assert finding.failure == "generator overpowers or discriminator dead"
    assert not Separation().findings(past({**FAR, "spread.distance": 0.01, "separation.held_out": 0.5}))


def test_a_constant_discriminator(past: Past) -> None:
    values = {**FAR, "spread.distance": 0.01, "separation.held_out": 0.5, "separation.relative_deviation": 0.0}
    (finding,) = Separation().findings(past(values))
    assert finding.failure == "generator overpowers or discriminator dead"
    assert finding.certainty > 0.9


def test_blurred_samples_in_the_right_place(past: Past) -> None:
    values = {"separation.held_out": 0.96, "spread.distance": 0.01, "spread.variance": 1.0, "spread.coverage": 0.05}
    (finding,) = Separation().findings(past({**values, "spread.precision": 0.04}))
    assert finding.failure == "discriminator overpowers" and "look real" in finding.evidence
    rising = np.linspace(0.02, 0.15, 13)
    assert not Separation().findings(past({**values, "spread.precision": rising}))
    assert not Separation().findings(past({**values, "spread.precision": 0.4}))
    assert not Separation().findings(past({**values, "spread.precision": 0.04, "separation.held_out": 0.7}))


def test_a_discriminator_that_is_worse_than_chance(past: Past) -> None:
    values = {"separation.held_out": 0.27, "separation.relative_deviation": 0.1, "spread.variance": 0.9}
    (finding,) = Separation().findings(past({**values, "spread.distance": 0.36}))
    assert finding.failure == "generator overpowers or discriminator dead"
