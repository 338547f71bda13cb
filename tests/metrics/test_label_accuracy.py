"""Label accuracy of perfect, constant and failing conditional generators."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from detente.data.digits import Digits
from detente.metrics.context import EvaluationContext
from detente.metrics.features.classifier import Classifier
from detente.metrics.label_accuracy import LabelAccuracy, label_accuracy
from detente.state import State


class FixedConditionalGame:
    """A conditional game that generates `images[k + off]` for the label k."""

    latent = 3
    latent_shape = (3,)

    def __init__(self, data: Any, images: Tensor, off: int = 0) -> None:
        self.data, self.images, self.off, self.labels = data, images, off, torch.zeros(0)

    def generate(self, state: State, latents: Tensor, labels: Tensor) -> Tensor:
        assert latents.shape == (len(labels), self.latent) and bool(latents.std() > 0.5)
        self.labels = labels
        return self.images[(labels + self.off) % len(self.images)]


def measure(game: Any, count: int = 100) -> float:
    assert LabelAccuracy().applies(game)
    return LabelAccuracy()(EvaluationContext(game, State(torch.tensor(0), {}), torch.Generator().manual_seed(0), count))


def one_of_each(classifier: Classifier) -> tuple[Tensor, Tensor]:
    """Return an image of each class that the classifier ever finds, and these classes."""
    noise = torch.randn(500, 1, 28, 28, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    noise = noise * torch.rand(500, 1, 1, 1, generator=torch.Generator().manual_seed(1))
    pool = torch.cat([noise, Digits().take(torch.arange(0, 5000, 10))["real"]])
    classes = classifier.network(pool).argmax(1)
    assert len(classes.unique()) > 2
    return torch.stack([pool[(classes == k).int().argmax()] for k in classes.unique()]), classes.unique()


def test_accuracy_of_given_labels() -> None:
    logits = torch.tensor([[1.0, 2.0], [3.0, 2.0], [0.0, 1.0], [0.0, 1.0]])
    assert label_accuracy(logits, torch.tensor([1, 0, 0, 1])) == 0.75


def test_a_generator_of_the_requested_labels_has_full_accuracy(random_classifier) -> None:
    images, classes = one_of_each(random_classifier)
    by_label = torch.zeros(10, 1, 28, 28)
    by_label[classes] = images
    data = Digits(classes=tuple(classes.tolist()))
    correct = FixedConditionalGame(data, by_label)
    assert measure(correct) == 100
    counts = torch.bincount(correct.labels, minlength=10)[classes]
    assert counts.max() - counts.min() <= 1 and counts.sum() == 100
    lost = FixedConditionalGame(data, by_label * math.nan)
    assert math.isnan(measure(lost))


def test_a_constant_generator_has_chance_accuracy(random_classifier) -> None:
    image = Digits().take(torch.arange(1))["real"]
    assert measure(FixedConditionalGame(Digits(), image)) == pytest.approx(10)


def test_it_applies_to_conditional_games(random_classifier, subject_of, images) -> None:
    assert not LabelAccuracy().applies(subject_of(Digits(), images).game)
