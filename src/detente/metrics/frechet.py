"""How far the Gaussians lie apart that have the moments of real and of generated features."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from detente.data.base import Data
from detente.errors import require
from detente.game import Game
from detente.metrics.base import Metric, nonnegative
from detente.metrics.context import EvaluationContext
from detente.metrics.features import classifier, inception
from detente.metrics.features.extractor import Extractor, cached_on_data, of_data, of_samples

BLOCK = 192  # rows and columns that are multiplied at once, measured
# Accuracy relative to the traces. Where eigenvalues may miss it, singular values are taken, in five times the time.
ACCURACY, ACCURACY_OF_MANY, MANY = 1e-10, 1e-8, 512


@dataclass(frozen=True, eq=False)
class Moments:
    """The first two moments of features, float64.

    Args:
        mean: μ, (features,).
        covariance: Σ, (features, features), symmetric and positive semidefinite.

    Both are NaN, or infinite, where the features they were computed from are not finite, or fewer than two.
    """

    mean: Tensor
    covariance: Tensor

    @cached_property
    def factor(self) -> tuple[Tensor, bool]:
        """A with AAᵀ = Σ, (features, rank), and whether it is lower triangular; computed at the first look."""
        size, precision = len(self.covariance), torch.finfo(self.covariance.dtype).eps
        lower, failed = torch.linalg.cholesky_ex(self.covariance)
        if not failed and lower.diagonal().square().min() > size * precision * self.covariance.diagonal().max():
            return lower, True
        values, vectors = torch.linalg.eigh(self.covariance)
        positive = values > size * precision * values.max()
        return vectors[:, positive] * values[positive].sqrt(), False

    @property
    def finite(self) -> bool:
        """Whether every number is finite."""
        return bool(self.mean.isfinite().all() and self.covariance.isfinite().all())


def moments(features: Tensor) -> Moments:
    """Return mean and unbiased covariance of features (count, features); NaN where fewer than two have none."""
    require(features.dim() == 2, "features", tuple(features.shape), "a matrix, (count, features)")
    count, size = features.shape
    if count < 2:
        undefined = torch.full((size, size), math.nan, dtype=torch.float64, device=features.device)
        return Moments(undefined.diagonal(), undefined)
    differences = features.double() - features[0].double()  # exact zeros where all samples are the same
    shift = differences.mean(dim=0)
    centred = differences - shift
    return Moments(features[0].double() + shift, centred.T @ centred / (count - 1))


def frechet_distance(first: Moments, second: Moments) -> float:
    """Return the squared Fréchet (2-Wasserstein) distance of two Gaussians.

    |μ₁ − μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr √(Σ₁Σ₂), where Σ₁Σ₂ has the eigenvalues of the symmetric AᵀΣ₂A, Σ₁ = AAᵀ

    Covariances of less than full rank (fewer samples than features, features that are always 0) are no difficulty:
    A has as many columns as the rank, and eigenvalues that are nothing but rounding errors count as 0. The root
    magnifies the rounding of small eigenvalues: where that matters, tr √(Σ₁Σ₂) is the sum of the singular values of
    AᵀB, Σ₂ = BBᵀ, which need no root.

    Args:
        first: of one distribution, the one that is used more often: its factor A is kept.
        second: of the other, of as many features.

    Returns:
        The distance, ≥ 0; NaN where a moment is not finite.

    Raises:
        InvalidValue: the two have different numbers of features.

    Source: Dowson & Landau 1982; Heusel et al. 2017 (TTUR), equation 6.
    """
    sizes = len(first.mean), len(second.mean)
    require(sizes[0] == sizes[1], "second", f"{sizes[1]} features", f"{sizes[0]} features, as many as the first has")
    if not (first.finite and second.finite):
        return math.nan
    traces = first.covariance.trace() + second.covariance.trace()
    product = _between(first, second.covariance)
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


def _between(first: Moments, covariance: Tensor) -> Tensor:
    """Return AᵀΣA, (rank, rank), or of a triangular A its lower triangle alone, which is a third of the work.

    Σ = H + Hᵀ, with H its lower triangle and half of the blocks on its diagonal, so that AᵀΣA = AᵀHA + (AᵀHA)ᵀ, where
    HA is triangular, too.
    """
    factor, triangular = first.factor
    if not triangular:
        return factor.T @ covariance @ factor
    product, half = (_odd_rows(covariance) for _ in range(2))
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


def _odd_rows(like: Tensor) -> Tensor:
    """Return an empty matrix whose rows do not begin a power of two apart, where the cache would lose them."""
    rows, columns = like.shape
    return like.new_empty(rows, columns + 8)[:, :columns]


def _measured(subject: EvaluationContext, extractor: Extractor) -> float:
    """Return the distance of the generated samples from the data, in the features of `extractor`."""
    features = of_samples(subject, extractor)
    if not features.defined or len(features.features) < 2:
        return math.nan
    return frechet_distance(real_moments(subject.data, extractor), moments(features.features))


def real_moments(data: Data, extractor: Extractor) -> Moments:
    """Return the moments of the features of up to 10,000 real samples, computed once."""
    return cached_on_data(data, ("moments", extractor.key), lambda: moments(of_data(data, extractor)))


@dataclass(frozen=True)
class ClassifierFrechetDistance(Metric):
    """Squared Fréchet distance between real and generated samples in the features of the data set's own classifier.

    |μ − μ_g|² + tr(Σ + Σ_g − 2 √(ΣΣ_g)) of up to 10,000 real samples and the measurement's generated ones

    Not FID, which takes the features of Inception: numbers compare only under one classifier and one number of
    samples, of which fewer give larger distances.

    Source: Heusel et al. 2017 (TTUR), equation 6, with the features of a classifier of the set, as Chavdarova et al.
    2021 (LAGAN) do for MNIST.
    """

    title = "Fréchet distance on the classifier's features"
    unit = ""
    better = "lower"

    def applies(self, game: Game) -> bool:
        return classifier.fits(game)

    def __call__(self, subject: EvaluationContext) -> float:
        return _measured(subject, classifier.of(subject.data))


@dataclass(frozen=True)
class FID(Metric):
    """Fréchet Inception Distance: between real and generated images in the features of Inception.

    |μ − μ_g|² + tr(Σ + Σ_g − 2 √(ΣΣ_g)), 2,048 features of the 2015 network, up to 10,000 real images

    Published numbers take 50,000 generated images: give the measurement as many, and compare no others with them.

    Args:
        weights: file of torch-fidelity's Inception weights; None for the one in torch's own cache.

    Source: Heusel et al. 2017 (TTUR), equation 6; Obukhov et al. 2020 (torch-fidelity) for the network.
    """

    title = "Fréchet Inception Distance"
    unit = ""
    better = "lower"
    routine = False

    weights: str | None = None

    def applies(self, game: Game) -> bool:
        return inception.fits(game)

    def __call__(self, subject: EvaluationContext) -> float:
        return _measured(subject, inception.load(self.weights))
