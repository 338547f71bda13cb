"""How sure a classifier is of each sample, and how many classes it sees in all of them: one number for both."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.errors import require
from detente.game import Game
from detente.metrics.base import Metric
from detente.metrics.context import EvaluationContext
from detente.metrics.features import classifier, inception
from detente.metrics.features.extractor import Extractor, of_samples


def inception_score(probabilities: Tensor, splits: int = 10) -> tuple[float, float]:
    """Return the score of each of `splits` parts of the samples: mean, and standard deviation (of the population).

    exp((1/m) Σ_i KL(p(·|x_i) ‖ p̄)),  p̄ = (1/m) Σ_i p(·|x_i) over the m samples of a part

    Args:
        probabilities: of the classes for each sample, (count, classes), in an order without meaning.
        splits: parts of as equal size as can be, 1 … count.

    Source: Salimans et al. 2016, section 4, and its code for the parts.
    """
    count = len(probabilities)
    require(1 <= splits <= count, "splits", splits, f"a whole number, 1 … {count}, the number of samples")
    probabilities = probabilities.double()
    scores = []
    for k in range(splits):
        part = probabilities[k * count // splits : (k + 1) * count // splits]
        divergences = (torch.xlogy(part, part) - torch.xlogy(part, part.mean(dim=0))).sum(dim=1)
        scores.append(divergences.mean().exp())
    return float(torch.stack(scores).mean()), float(torch.stack(scores).std(correction=0))


def _require_splits(splits: int) -> None:
    require(type(splits) is int and splits >= 1, "splits", splits, "a whole number, at least 1")


def _measured(subject: EvaluationContext, extractor: Extractor, splits: int) -> float:
    features = of_samples(subject, extractor)
    return (
        inception_score(features.probabilities, splits)[0]
        if features.defined and len(features.logits) >= splits
        else math.nan
    )


@dataclass(frozen=True)
class ClassifierScore(Metric):
    """Inception Score by the data set's own classifier in the place of Inception.

    exp(E_x KL(p(y|x) ‖ p(y))), between 1 and the number of classes; the mean over `splits` parts of the samples

    Compare only numbers of one classifier, one number of samples and as many parts.

    Args:
        splits: into how many parts the samples are divided, at least 1.

    Source: Salimans et al. 2016, section 4; Chavdarova et al. 2018, SVRG-GAN, section 4 (on MNIST by a classifier).
    """

    title = "Inception Score by the data set's classifier"
    unit = ""
    better = "higher"

    splits: int = 10

    def __post_init__(self) -> None:
        _require_splits(self.splits)

    def applies(self, game: Game) -> bool:
        return classifier.fits(game)

    def __call__(self, subject: EvaluationContext) -> float:
        return _measured(subject, classifier.of(subject.data), self.splits)


@dataclass(frozen=True)
class InceptionScore(Metric):
    """Inception Score: how sure Inception is of each image, and how many of ImageNet's classes it sees in all.

    exp(E_x KL(p(y|x) ‖ p(y))), at least 1; the mean over `splits` parts of the images

    Published numbers take 50,000 images in 10 parts, Mescheder et al. (2017) 6,400.

    Args:
        splits: into how many parts the images are divided, at least 1.
        weights: file of torch-fidelity's Inception weights; None for the one in torch's own cache.

    Source: Salimans et al. 2016, section 4; Obukhov et al. 2020 (torch-fidelity) for the network.
    """

    title = "Inception Score"
    unit = ""
    better = "higher"
    routine = False

    splits: int = 10
    weights: str | None = None

    def __post_init__(self) -> None:
        _require_splits(self.splits)

    def applies(self, game: Game) -> bool:
        return inception.fits(game)

    def __call__(self, subject: EvaluationContext) -> float:
        return _measured(subject, inception.load(self.weights), self.splits)
