"""The balance of classes among the samples, according to the data set's classifier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from detente.game import Game
from detente.metrics.base import Metric, Stamp, nonnegative
from detente.metrics.context import EvaluationContext
from detente.metrics.features import classifier
from detente.metrics.features.extractor import cached_on_data, of_samples, stamp


def class_histogram(probabilities: Tensor) -> Tensor:
    """Return the share of samples with each likeliest class, (classes,) float64, from probabilities (count, classes).

    All shares are NaN if a probability is NaN, or if there are no samples.
    """
    if not len(probabilities) or probabilities.isnan().any():  # NaN would count as the largest
        return torch.full((probabilities.shape[1],), math.nan, dtype=torch.float64)
    counts = torch.bincount(probabilities.argmax(dim=1), minlength=probabilities.shape[1])
    return counts.double() / len(probabilities)


def entropy(shares: Tensor) -> float:
    """Return −Σ_k p_k ln p_k in nats, 0 … ln K, of shares (K,) that sum to 1."""
    return nonnegative(-float(torch.xlogy(shares.double(), shares.double()).sum()))


def total_variation(shares: Tensor, others: Tensor | None = None) -> float:
    """Return ½ Σ_k |p_k − q_k|, 0 … 1, of shares p (K,) and q (K,); q = 1/K by default."""
    reference = torch.full_like(shares, 1 / len(shares)) if others is None else others
    return 0.5 * float((shares.double() - reference.double()).abs().sum())


def _class_shares(context: EvaluationContext) -> Tensor | None:
    """Return the histogram of the generated samples' classes, or None if samples are not finite."""
    features = of_samples(context, classifier.of(context.data))
    return class_histogram(features.logits) if features.defined else None


def _equal_shares(data: Any, classes: int) -> Tensor:
    """Return equal shares for the classes present in the data, (classes,), and 0 for the others."""
    labels = data.arrays[1]
    all_classes = torch.arange(classes)
    present = all_classes if labels is None else cached_on_data(data, "classes", lambda: labels.unique().cpu())
    return torch.zeros(classes, dtype=torch.float64).index_fill(0, present, 1 / len(present))


@dataclass(frozen=True)
class _ClassBalance(Metric):
    """The common part of both metrics: the classes of generated samples."""

    needs = "images, the data set's classifier"

    def applies(self, game: Game) -> bool:
        return classifier.fits(game)

    def missing(self, game: Game) -> str:
        return classifier.missing(game)

    def stamp(self, context: EvaluationContext) -> Stamp:
        return stamp(context, classifier.of(context.data))


@dataclass(frozen=True)
class ClassEntropy(_ClassBalance):
    """Entropy of the histogram of the classes that the data set's classifier finds among the samples.

    −Σ_k p_k ln p_k,  p_k the share of samples with likeliest class k; between 0 and ln(number of classes)

    Source: Chavdarova et al. 2018, SVRG-GAN, section 4 (MNIST); argmax and nats as in the code of Chavdarova et al.
    2019 (SVRE).
    """

    title = "Entropy of the classes"
    unit = "nats"
    better = "higher"

    def __call__(self, context: EvaluationContext) -> float:
        shares = _class_shares(context)
        return math.nan if shares is None else entropy(shares)


@dataclass(frozen=True)
class ClassTotalVariation(_ClassBalance):
    """Total variation between the histogram of the classes that the classifier finds and equal shares.

    ½ Σ_k |p_k − 1/K|,  p_k the share of samples with likeliest class k; between 0 and 1

    For data restricted to K of the classes, 1/K is the share of each of these, and 0 that of the others.

    Source: Chavdarova et al. 2018, SVRG-GAN, section 4 (MNIST); argmax as in the code of Chavdarova et al. 2019 (SVRE).
    """

    title = "Total variation of the classes to uniform"
    unit = ""
    better = "lower"

    def __call__(self, context: EvaluationContext) -> float:
        shares = _class_shares(context)
        return math.nan if shares is None else total_variation(shares, _equal_shares(context.data, len(shares)))
