"""The number of stacked MNIST's 1,000 modes that samples cover, and how evenly they cover them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from detente.data.stacked_mnist import StackedMnist
from detente.game import Game
from detente.metrics.base import Metric, Stamp, nonnegative
from detente.metrics.context import EvaluationContext
from detente.metrics.features import classifier
from detente.metrics.features.extractor import PART, extract, stamp

MODES = 1000


def modes_found(modes: Tensor) -> int:
    """Return the number of different modes among those of the samples, (count,) int64."""
    return len(modes.unique())


def divergence_from_uniform(modes: Tensor, count: int = MODES) -> float:
    """Return KL(p ‖ u) = Σ_k p_k ln(count · p_k) in nats, 0 … ln count, where p_k is the fraction in mode k.

    Args:
        modes: the mode of each sample, (samples,) int64, each 0 … count − 1.
        count: number of modes.
    """
    shares = torch.bincount(modes, minlength=count).double() / len(modes)
    return nonnegative(float(torch.xlogy(shares, count * shares).sum()))


def _classifier_name(game: Game) -> str | None:
    data = getattr(game, "data", None)
    return data.digits.partition("-")[0] if isinstance(data, StackedMnist) else None


def _fits(game: Game) -> bool:
    name = _classifier_name(game)
    return name is not None and classifier.exists(name)


def _modes(context: EvaluationContext) -> Tensor | None:
    """Return 100 r + 10 g + b of each sample's three digits, (count,), or None if samples are not finite."""
    extractor = classifier.load(str(_classifier_name(context.game)))

    def count_modes() -> Tensor | None:
        channels = context.samples.flatten(0, 1)[:, None]
        outputs = extract(extractor, channels.split(PART))
        digits = outputs.logits.argmax(dim=1).reshape(-1, 3)
        return digits @ digits.new_tensor([100, 10, 1]) if outputs.defined else None

    return context.once(("stacked digits", extractor.key), count_modes)


@dataclass(frozen=True)
class _StackedMetric(Metric):
    """The common part of both metrics: the modes of generated samples by the classifier of single digits."""

    needs = "stacked digits, the classifier of single digits"

    def applies(self, game: Game) -> bool:
        return _fits(game)

    def stamp(self, context: EvaluationContext) -> Stamp:
        return stamp(context, classifier.load(str(_classifier_name(context.game))))


@dataclass(frozen=True)
class StackedModes(_StackedMetric):
    """Number of stacked MNIST's 1,000 modes among the samples, with each channel classified by the digits' classifier.

    #{(r, g, b) : the likeliest digits of the channels of a sample}

    A perfect generator reaches 1000 (1 − 0.999ⁿ) with n samples: 871 with 2,048, all with the paper's 26,000.

    Source: Metz et al. 2017, section 3.3.1; Srivastava et al. 2017 (VEEGAN), section 4.1; Lin et al. 2018 (PacGAN).
    """

    title = "Modes of stacked digits"
    unit = "modes"
    better = "higher"

    def __call__(self, context: EvaluationContext) -> float:
        modes = _modes(context)
        return math.nan if modes is None else float(modes_found(modes))


@dataclass(frozen=True)
class StackedDivergence(_StackedMetric):
    """Kullback-Leibler divergence between the samples' histogram over stacked MNIST's 1,000 modes and equal shares.

    Σ_k p_k ln(1000 p_k),  p_k the fraction of samples in mode k; between 0 and ln 1000

    A perfect generator reaches about 999/(2n) with n samples if each mode has many samples, and 0.25 with 2,048.

    Source: Metz et al. 2017, section 3.3.1; Lin et al. 2018 (PacGAN), section 4.2.
    """

    title = "Divergence of stacked digits from uniform"
    unit = "nats"
    better = "lower"

    def __call__(self, context: EvaluationContext) -> float:
        modes = _modes(context)
        return math.nan if modes is None else divergence_from_uniform(modes)
