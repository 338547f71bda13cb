"""The Inception Score, which combines a classifier's confidence in each sample with the variety of its classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.errors import require
from detente.game import Game
from detente.metrics.base import Metric, Stamp
from detente.metrics.context import EvaluationContext
from detente.metrics.features import classifier, inception
from detente.metrics.features.extractor import Extractor, of_samples, stamp


def inception_score(probabilities: Tensor, splits: int = 10) -> tuple[float, float]:
    """Return the mean and the (population) standard deviation of the scores of `splits` parts of the samples.

    exp((1/m) Σ_i KL(p(·|x_i) ‖ p̄)),  p̄ = (1/m) Σ_i p(·|x_i) over the m samples of a part

    Args:
        probabilities: class probabilities of each sample, (count, classes), in random order.
        splits: number of parts, as equal in size as possible, 1 … count.

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


def _score(context: EvaluationContext, extractor: Extractor, splits: int) -> float:
    features = of_samples(context, extractor)
    return (
        inception_score(features.probabilities, splits)[0]
        if features.defined and len(features.logits) >= splits
        else math.nan
    )


@dataclass(frozen=True)
class ClassifierScore(Metric):
    """Inception Score with the data set's own classifier instead of Inception.

    exp(E_x KL(p(y|x) ‖ p(y))), between 1 and the number of classes; the mean over `splits` parts of the samples

    Compare values only for the same classifier, the same number of samples and the same number of parts.

    Args:
        splits: number of parts into which the samples are divided, at least 1.

    Source: Salimans et al. 2016, section 4; Chavdarova et al. 2018, SVRG-GAN, section 4 (on MNIST by a classifier).
    """

    title = "Inception Score by the data set's classifier"
    unit = ""
    better = "higher"
    needs = "images, the data set's classifier, ≥ 10 samples"

    splits: int = 10

    def __post_init__(self) -> None:
        _require_splits(self.splits)

    def applies(self, game: Game) -> bool:
        return classifier.fits(game)

    def missing(self, game: Game) -> str:
        return classifier.missing(game)

    def stamp(self, context: EvaluationContext) -> Stamp:
        return stamp(context, classifier.of(context.data))

    def __call__(self, context: EvaluationContext) -> float:
        return _score(context, classifier.of(context.data), self.splits)


@dataclass(frozen=True)
class InceptionScore(Metric):
    """Inception Score: Inception's confidence in each image combined with the variety of classes over all images.

    exp(E_x KL(p(y|x) ‖ p(y))), at least 1; the mean over `splits` parts of the images

    Published values use 50,000 images in 10 parts; Mescheder et al. (2017) use 6,400 images.

    Args:
        splits: number of parts into which the images are divided, at least 1.
        weights: path of torch-fidelity's Inception weights; None for the file in torch's cache.

    Source: Salimans et al. 2016, section 4; Obukhov et al. 2020 (torch-fidelity) for the network.
    """

    title = "Inception Score"
    unit = ""
    better = "higher"
    needs = "RGB images of at least 32 pixels a side, Inception (torch-fidelity), ≥ 10 samples"
    routine = False

    splits: int = 10
    weights: str | None = None

    def __post_init__(self) -> None:
        _require_splits(self.splits)

    def applies(self, game: Game) -> bool:
        return not self.missing(game)

    def missing(self, game: Game) -> str:
        return inception.missing(game)

    def require_available(self) -> None:
        inception.require_available(self.weights)

    def stamp(self, context: EvaluationContext) -> Stamp:
        return stamp(context, inception.load(self.weights))

    def __call__(self, context: EvaluationContext) -> float:
        return _score(context, inception.load(self.weights), self.splits)
