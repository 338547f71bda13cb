"""The Fréchet distance between real and generated features, each described by a Gaussian."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from detente.data.base import Data
from detente.errors import require
from detente.game import Game
from detente.metrics.base import Metric, Stamp, nonnegative
from detente.metrics.context import EvaluationContext
from detente.metrics.features import classifier, inception
from detente.metrics.features.extractor import (
    REAL,
    Extractor,
    cached_on_data,
    identity,
    of_data,
    of_samples,
    real_count,
    stamp,
)
from detente.metrics.features.network import as_extractor, extractor_for, missing

BLOCK = 192  # rows and columns of one block product; the fastest size in measurements
# Accuracy relative to the traces. If eigenvalues may miss it, use singular values, which take five times as long.
ACCURACY, ACCURACY_OF_MANY, MANY = 1e-10, 1e-8, 512


@dataclass(frozen=True, eq=False)
class Moments:
    """The first two moments of features, float64.

    Args:
        mean: μ, (features,).
        covariance: Σ, (features, features), symmetric and positive semidefinite.

    Both are NaN or infinite if the features are not finite, or fewer than two.
    """

    mean: Tensor
    covariance: Tensor

    @cached_property
    def factor(self) -> tuple[Tensor, bool]:
        """A with AAᵀ = Σ, (features, rank), and whether it is lower triangular; computed at the first access."""
        size, precision = len(self.covariance), torch.finfo(self.covariance.dtype).eps
        lower, failed = torch.linalg.cholesky_ex(self.covariance)
        if not failed and lower.diagonal().square().min() > size * precision * self.covariance.diagonal().max():
            return lower, True
        values, vectors = torch.linalg.eigh(self.covariance)
        positive = values > size * precision * values.max()
        return vectors[:, positive] * values[positive].sqrt(), False

    @property
    def finite(self) -> bool:
        """Whether all numbers are finite."""
        return bool(self.mean.isfinite().all() and self.covariance.isfinite().all())


def moments(features: Tensor) -> Moments:
    """Return the mean and unbiased covariance of features (count, features); NaN for fewer than two samples."""
    require(features.dim() == 2, "features", tuple(features.shape), "a matrix, (count, features)")
    count, size = features.shape
    if count < 2:
        undefined = torch.full((size, size), math.nan, dtype=torch.float64, device=features.device)
        return Moments(undefined.diagonal(), undefined)
    differences = features.double() - features[0].double()  # exact zeros if all samples are equal
    shift = differences.mean(dim=0)
    centred = differences - shift
    return Moments(features[0].double() + shift, centred.T @ centred / (count - 1))


def frechet_distance(first: Moments, second: Moments) -> float:
    """Return the squared Fréchet (2-Wasserstein) distance between two Gaussians.

    |μ₁ − μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr √(Σ₁Σ₂), where Σ₁Σ₂ has the eigenvalues of the symmetric AᵀΣ₂A, Σ₁ = AAᵀ

    Covariances may be rank-deficient (fewer samples than features, features that are always 0): A has as many columns
    as the rank, and eigenvalues within rounding error count as 0. The square root amplifies the rounding errors of
    small eigenvalues. If that matters, tr √(Σ₁Σ₂) is computed as the sum of the singular values of AᵀB, Σ₂ = BBᵀ,
    which needs no root.

    Args:
        first: moments of one distribution; its factor A is cached, so pass the one that is used more often.
        second: moments of the other distribution, with the same number of features.

    Returns:
        The distance, ≥ 0; NaN if a moment is not finite.

    Raises:
        InvalidValue: the two have different numbers of features.

    Source: Dowson & Landau 1982; Heusel et al. 2017 (TTUR), equation 6.
    """
    sizes = len(first.mean), len(second.mean)
    require(sizes[0] == sizes[1], "second", f"{sizes[1]} features", f"{sizes[0]} features, as in the first")
    if not (first.finite and second.finite):
        return math.nan
    traces = first.covariance.trace() + second.covariance.trace()
    product = _congruence(first, second.covariance)
    if not product.isfinite().all():  # too large for float64
        return math.nan
    values = torch.linalg.eigvalsh(product)
    rounding = math.sqrt(len(values)) * torch.finfo(values.dtype).eps * values.abs().max() if len(values) else 0.0
    roots = values.clamp(min=rounding).sqrt()
    accuracy = ACCURACY if len(second.mean) <= MANY else ACCURACY_OF_MANY
    if (rounding / roots).nan_to_num(0.0).sum() > accuracy * traces:
        trace = torch.linalg.svdvals(first.factor[0].T @ second.factor[0]).sum()
    else:
        trace = roots[values > rounding].sum()
    return nonnegative(float((first.mean - second.mean).square().sum() + traces - 2 * trace))


def _congruence(first: Moments, covariance: Tensor) -> Tensor:
    """Return AᵀΣA, (rank, rank); only its lower triangle if A is triangular, which takes a third of the work.

    Σ = H + Hᵀ, where H is its lower triangle with half of the diagonal blocks, so that AᵀΣA = AᵀHA + (AᵀHA)ᵀ, where
    HA is also triangular.
    """
    factor, triangular = first.factor
    if not triangular:
        return factor.T @ covariance @ factor
    product, half = (_empty_padded(covariance) for _ in range(2))
    edges = [*range(0, len(factor), BLOCK), len(factor)]
    blocks = [slice(*pair) for pair in itertools.pairwise(edges)]
    for index, rows in enumerate(blocks):
        upto = slice(0, rows.stop)
        torch.mm(covariance[rows, rows] / 2, factor[rows, upto], out=half[rows, upto])
        for columns in blocks[:index]:
            block = slice(columns.start, rows.start)
            half[rows, columns].addmm_(covariance[rows, block], factor[block, columns])
    for rows in blocks:
        upto, below = slice(0, rows.stop), slice(rows.start, None)
        torch.mm(factor[below, rows].T, half[below, upto], out=product[rows, upto])
        product[rows, upto].addmm_(half[below, rows].T, factor[below, upto])
    return product


def _empty_padded(like: Tensor) -> Tensor:
    """Return an empty matrix with rows that do not start a power of two apart, which would cause cache misses."""
    rows, columns = like.shape
    return like.new_empty(rows, columns + 8)[:, :columns]


def _distance_to_data(context: EvaluationContext, extractor: Extractor, real: int = REAL) -> float:
    """Return the distance between the generated samples and the data, in the features of `extractor`."""
    features = of_samples(context, extractor)
    if not features.defined or len(features.features) < 2:
        return math.nan
    return frechet_distance(real_moments(context.data, extractor, real, context), moments(features.features))


def real_moments(
    data: Data, extractor: Extractor, count: int = REAL, context: EvaluationContext | None = None
) -> Moments:
    """Return the moments of the features of up to `count` real samples; computed once per data."""
    key = ("moments", identity(extractor), real_count(data, count))
    return cached_on_data(data, key, lambda: moments(of_data(data, extractor, count, context)))


@dataclass(frozen=True)
class ClassifierFrechetDistance(Metric):
    """Squared Fréchet distance between real and generated samples in the features of the data set's own classifier.

    |μ − μ_g|² + tr(Σ + Σ_g − 2 √(ΣΣ_g)) of up to 10,000 real samples and the generated samples of the measurement

    This is not FID, which uses the features of Inception. Compare values only for the same classifier and the same
    number of samples; fewer samples give larger distances.

    Source: Heusel et al. 2017 (TTUR), equation 6, with the features of the data set's classifier, as Chavdarova et al.
    2021 (LAGAN) do for MNIST.
    """

    title = "Fréchet distance on the classifier's features"
    unit = ""
    better = "lower"
    needs = "images, the data set's classifier, ≥ 2 samples"

    def applies(self, game: Game) -> bool:
        return classifier.fits(game)

    def missing(self, game: Game) -> str:
        return classifier.missing(game)

    def stamp(self, context: EvaluationContext) -> Stamp:
        return stamp(context, classifier.of(context.data), REAL)

    def __call__(self, context: EvaluationContext) -> float:
        return _distance_to_data(context, classifier.of(context.data))


@dataclass(frozen=True)
class FID(Metric):
    """Fréchet Inception Distance between real and generated images, in the features of Inception.

    |μ − μ_g|² + tr(Σ + Σ_g − 2 √(ΣΣ_g)), 2,048 features of the 2015 network

    Published values use 50,000 generated images and all real ones. To compare with them, use the same numbers.

    Args:
        weights: path of torch-fidelity's Inception weights; None for the file in torch's cache.
        real: largest number of real images, at least 2.

    Source: Heusel et al. 2017 (TTUR), equation 6; Obukhov et al. 2020 (torch-fidelity) for the network.
    """

    title = "Fréchet Inception Distance"
    unit = ""
    better = "lower"
    needs = "RGB images of at least 32 pixels a side, Inception (torch-fidelity), ≥ 2 samples"
    routine = False

    weights: str | None = None
    real: int = REAL

    def __post_init__(self) -> None:
        require(type(self.real) is int and self.real >= 2, "real", self.real, "a whole number, at least 2")

    def applies(self, game: Game) -> bool:
        return not self.missing(game)

    def missing(self, game: Game) -> str:
        return inception.missing(game)

    def require_available(self) -> None:
        inception.require_available(self.weights)

    def stamp(self, context: EvaluationContext) -> Stamp:
        return stamp(context, inception.load(self.weights), self.real)

    def __call__(self, context: EvaluationContext) -> float:
        return _distance_to_data(context, inception.load(self.weights), self.real)


@dataclass(frozen=True)
class FrechetDistance(Metric):
    """Squared Fréchet distance between real and generated samples in the features of any network, such as DINOv2.

    |μ − μ_g|² + tr(Σ + Σ_g − 2 √(ΣΣ_g)), features of `extractor`

    This is not FID. Compare values only for the same extractor, resizer and numbers of samples.

    Args:
        extractor: a module; a function of samples (count, …); the path of a file by `torch.export.save` or
            `torch.jit.save`; MODULE.NAME of one of these; a `FeatureNetwork`; "inception"; or the data set's own
            "classifier".
        real: largest number of real samples, at least 2.

    Source: Heusel et al. 2017 (TTUR), equation 6; Stein et al. 2023, section 3, for DINOv2.
    """

    title = "Fréchet distance of features"
    unit = ""
    better = "lower"
    needs = "real data, an extractor of features (extractor=FILE or MODULE.NAME), ≥ 2 samples"
    routine = False

    extractor: Any = "classifier"
    real: int = REAL

    def __post_init__(self) -> None:
        object.__setattr__(self, "extractor", as_extractor(self.extractor))
        require(type(self.real) is int and self.real >= 2, "real", self.real, "a whole number, at least 2")

    def applies(self, game: Game) -> bool:
        return not self.missing(game)

    def missing(self, game: Game) -> str:
        return missing(self.extractor, game)

    def require_available(self) -> None:
        if self.extractor == "inception":
            inception.require_available()

    def stamp(self, context: EvaluationContext) -> Stamp:
        return stamp(context, extractor_for(self.extractor, context.data), self.real)

    def __call__(self, context: EvaluationContext) -> float:
        return _distance_to_data(context, extractor_for(self.extractor, context.data), self.real)
