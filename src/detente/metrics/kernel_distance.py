"""The kernel distance between real and generated features, unbiased for any number of samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from detente.errors import require
from detente.game import Game
from detente.metrics.base import Metric, Stamp
from detente.metrics.context import EvaluationContext
from detente.metrics.features import inception
from detente.metrics.features.extractor import REAL, Extractor, of_data, of_samples, stamp
from detente.metrics.features.network import as_extractor, extractor_for, missing


def squared_discrepancy(real: Tensor, fake: Tensor) -> float:
    """Return the unbiased estimate of the squared maximum mean discrepancy under k(x, y) = (x·y/d + 1)³.

    Σ_{i≠j} k(x_i, x_j)/(m(m−1)) + Σ_{i≠j} k(y_i, y_j)/(n(n−1)) − 2 Σ_{i,j} k(x_i, y_j)/(mn)

    Functions of a single point cancel in this sum. So k(x, y) may be replaced by k(x, y) − k(x, c) − k(c, y) + k(c, c),
    where c is the mean of all points, which loses no digits if features are far from the origin. With x = c + a,
    y = c + b, p = a·c/d, r = b·c/d, q = a·b/d, s = c·c/d + 1 and t = s + p + r this is 3pr(s + t) + q(3t² + 3tq + q²).

    Args:
        real: features x, (m, d), m ≥ 2; computed in float64.
        fake: features y, (n, d), n ≥ 2.

    Returns:
        The estimate, which may be negative; NaN if a feature is not finite, or if a set has fewer than two.

    Source: Gretton et al. 2012, equation 3; Bińkowski et al. 2018, section 4 (the kernel).
    """
    if min(len(real), len(fake)) < 2:
        return math.nan
    x, y = real.double(), fake.double()
    centre = torch.cat([x, y]).mean(dim=0)
    x, y = x - centre, y - centre
    size, constant = len(centre), centre @ centre / len(centre) + 1

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        p, r, q = (a @ centre / size)[:, None], b @ centre / size, a @ b.T / size
        total = constant + p + r
        return 3 * p * r * (constant + total) + q * (3 * total * (total + q) + q * q)

    def within(a: Tensor) -> Tensor:
        gram = kernel(a, a)
        return (gram.sum() - gram.trace()) / (len(a) * (len(a) - 1))

    return float(within(x) + within(y) - 2 * kernel(x, y).mean())


def kernel_distance(
    real: Tensor, fake: Tensor, subsets: int, size: int, generator: torch.Generator
) -> tuple[float, float]:
    """Return the mean and the (population) standard deviation of `squared_discrepancy` over random subsets.

    Args:
        real: features, (m, d).
        fake: features, (n, d).
        subsets: number of pairs of subsets, at least 1.
        size: size of each subset, 2 … min(m, n), drawn without replacement.
        generator: source of randomness for the subsets.

    Source: Bińkowski et al. 2018, section 4.
    """
    require(subsets >= 1, "subsets", subsets, "a whole number, at least 1")
    fewest = min(len(real), len(fake))
    require(2 <= size <= fewest, "size", size, f"a whole number, 2 … {fewest}, the number of samples")

    def random_subset(features: Tensor) -> Tensor:
        return features[torch.randperm(len(features), generator=generator, device=generator.device).cpu()[:size]]

    discrepancies = [squared_discrepancy(random_subset(real), random_subset(fake)) for _ in range(subsets)]
    values = torch.tensor(discrepancies, dtype=torch.float64)
    return float(values.mean()), float(values.std(correction=0))


def _require_sizes(subsets: int, size: int, real: int) -> None:
    require(type(subsets) is int and subsets >= 1, "subsets", subsets, "a whole number, at least 1")
    require(type(size) is int and size >= 2, "size", size, "a whole number, at least 2")
    require(type(real) is int and real >= 2, "real", real, "a whole number, at least 2")


def _distance_to_data(context: EvaluationContext, extractor: Extractor, subsets: int, size: int, real: int) -> float:
    features = of_samples(context, extractor)
    real_features = of_data(context.data, extractor, real, context)
    size = min(size, len(features.features), len(real_features))
    if not features.defined or size < 2:
        return math.nan
    return kernel_distance(real_features, features.features, subsets, size, context.generator)[0]


@dataclass(frozen=True)
class KID(Metric):
    """Kernel Inception Distance: the unbiased squared maximum mean discrepancy of Inception's features.

    mean over `subsets` of E k(x, x') + E k(y, y') − 2 E k(x, y),  k(x, y) = (x·y/2048 + 1)³

    Args:
        subsets: number of random subsets, at least 1.
        size: number of images in a subset, at least 2; all images if there are fewer.
        weights: path of torch-fidelity's Inception weights; None for the file in torch's cache.
        real: largest number of real images, at least 2.

    Source: Bińkowski et al. 2018 (Demystifying MMD GANs), section 4; Obukhov et al. 2020 (torch-fidelity).
    """

    title = "Kernel Inception Distance"
    unit = ""
    better = "lower"
    needs = "RGB images of at least 32 pixels a side, Inception (torch-fidelity), ≥ 2 samples"
    routine = False

    subsets: int = 100
    size: int = 1000
    weights: str | None = None
    real: int = REAL

    def __post_init__(self) -> None:
        _require_sizes(self.subsets, self.size, self.real)

    def applies(self, game: Game) -> bool:
        return not self.missing(game)

    def missing(self, game: Game) -> str:
        return inception.missing(game)

    def require_available(self) -> None:
        inception.require_available(self.weights)

    def stamp(self, context: EvaluationContext) -> Stamp:
        return stamp(context, inception.load(self.weights), self.real)

    def __call__(self, context: EvaluationContext) -> float:
        return _distance_to_data(context, inception.load(self.weights), self.subsets, self.size, self.real)


@dataclass(frozen=True)
class KernelDistance(Metric):
    """Kernel distance between real and generated samples in the features of any network, such as DINOv2.

    mean over `subsets` of E k(x, x') + E k(y, y') − 2 E k(x, y),  k(x, y) = (x·y/d + 1)³, d features of `extractor`

    Args:
        extractor: a module; a function of samples (count, …); the path of a file by `torch.export.save` or
            `torch.jit.save`; MODULE.NAME of one of these; a `FeatureNetwork`; "inception"; or the data set's own
            "classifier".
        subsets: number of random subsets, at least 1.
        size: number of samples in a subset, at least 2; all samples if there are fewer.
        real: largest number of real samples, at least 2.

    Source: Bińkowski et al. 2018 (Demystifying MMD GANs), section 4.
    """

    title = "Kernel distance of features"
    unit = ""
    better = "lower"
    needs = "real data, an extractor of features (extractor=FILE or MODULE.NAME), ≥ 2 samples"
    routine = False

    extractor: Any = "classifier"
    subsets: int = 100
    size: int = 1000
    real: int = REAL

    def __post_init__(self) -> None:
        object.__setattr__(self, "extractor", as_extractor(self.extractor))
        _require_sizes(self.subsets, self.size, self.real)

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
        extractor = extractor_for(self.extractor, context.data)
        return _distance_to_data(context, extractor, self.subsets, self.size, self.real)
