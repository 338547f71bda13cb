"""Every metric on constant, duplicated, far-off, tiny, rank-deficient and non-finite sets, against exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from detente.data.arrays import Arrays
from detente.data.digits import Digits
from detente.data.gaussian_mixture import Ring
from detente.data.stacked_mnist import StackedMnist
from detente.data.text import Text
from detente.games.dirac_gan import DiracGAN
from detente.metrics import distances
from detente.metrics.class_balance import class_histogram, entropy, total_variation
from detente.metrics.context import EvaluationContext
from detente.metrics.features import inception
from detente.metrics.frechet import Moments, frechet_distance, moments
from detente.metrics.inception_score import inception_score
from detente.metrics.kernel_distance import squared_discrepancy
from detente.metrics.label_accuracy import label_accuracy
from detente.metrics.likelihood import FACTORS, Coverage, LogLikelihood, bandwidth, log_density
from detente.metrics.neighbours import neighbourhoods
from detente.metrics.ngram_divergence import jensen_shannon, ngram_shares
from detente.metrics.stacked_digits import divergence_from_uniform
from detente.registry import members
from detente.state import State


def drawn(count: int, size: int, seed: int) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def flat(points: Tensor) -> Tensor:
    """Return points of rank 2: the last columns repeat the first two."""
    return torch.cat([points[:, :2], points[:, :2] * 2, points[:, :1]], dim=1)


SETS: dict[str, tuple[Tensor, Tensor]] = {
    "ordinary": (drawn(14, 5, 0), drawn(11, 5, 1)),
    "identical": (drawn(14, 5, 0), drawn(14, 5, 0)),
    "both constant": (drawn(1, 5, 0).repeat(9, 1), drawn(1, 5, 1).repeat(7, 1)),
    "one constant": (drawn(12, 5, 0), drawn(1, 5, 1).repeat(7, 1)),
    "the same constant": (drawn(1, 5, 0).repeat(8, 1), drawn(1, 5, 0).repeat(8, 1)),
    "duplicated": (drawn(6, 5, 0).repeat(2, 1), drawn(5, 5, 1).repeat(3, 1)),
    "copies": (drawn(12, 5, 0), drawn(12, 5, 0).flip(0).repeat(2, 1)),
    "far off": (drawn(14, 5, 0) + 1e4, drawn(11, 5, 1) + 1e4),
    "very far off": (drawn(14, 5, 0).double() + 1e6, drawn(11, 5, 1).double() * 1.5 + 1e6),
    "two and three": (drawn(2, 5, 0), drawn(3, 5, 1)),
    "fewer than features": (drawn(4, 30, 0), drawn(6, 30, 1)),
    "rank deficient": (flat(drawn(14, 5, 0)), flat(drawn(11, 5, 1))),
    "whole numbers": (drawn(14, 2, 0).round(), drawn(11, 2, 1).round()),
    "very large": (drawn(9, 3, 0) * 1e30, drawn(8, 3, 1) * 1e30),
    "very small": (drawn(9, 3, 0) * 1e-20, drawn(8, 3, 1) * 1e-20),
}
every_set = pytest.mark.parametrize("name", SETS)


def exact(points: Tensor) -> list[list[Fraction]]:
    return [[Fraction(number) for number in row] for row in points.double().tolist()]


def centred(points: list[list[Fraction]]) -> tuple[list[Fraction], np.ndarray]:
    """Return the exact mean, and the rows less this mean over √(n − 1)."""
    mean = [sum(column, Fraction(0)) / len(points) for column in zip(*points, strict=True)]
    rows = [[float(number - middle) for number, middle in zip(row, mean, strict=True)] for row in points]
    return mean, np.array(rows) / math.sqrt(len(points) - 1)


@every_set
def test_frechet_distance(name: str) -> None:
    """Tr √(Σ₁Σ₂) is the sum of the singular values of A₁A₂ᵀ, Σᵢ = AᵢᵀAᵢ, from the samples themselves."""
    real, fake = SETS[name]
    (mean, a), (other, b) = centred(exact(real)), centred(exact(fake))
    between = float(sum((p - q) ** 2 for p, q in zip(mean, other, strict=True)))
    expected = between + (a**2).sum() + (b**2).sum() - 2 * np.linalg.svd(a @ b.T, compute_uv=False).sum()
    scale = between + (a**2).sum() + (b**2).sum()
    for distance in (
        frechet_distance(moments(real), moments(fake)),
        frechet_distance(moments(fake), moments(real)),
    ):
        assert distance >= 0 and distance == pytest.approx(expected, rel=1e-9, abs=1e-11 * scale)
    if "constant" in name and name != "one constant":
        assert distance == pytest.approx(between, rel=1e-14)
    if name == "the same constant":
        assert distance == 0


@pytest.mark.parametrize("size", [3, 40, 200])
def test_frechet_distance_of_a_set_from_itself_is_zero(size: int) -> None:
    for count in (2, 30, 500):
        for offset in (0, 1e4, 1e6):
            x = drawn(count, size, 0).double() * torch.linspace(0, -9, size).exp() + offset
            trace = float(moments(x).covariance.trace())
            assert 0 <= frechet_distance(moments(x), moments(x.flip(0))) <= 1e-10 * trace


@pytest.mark.parametrize("rank", [1, 4, 12])
def test_frechet_distance_of_covariances_of_low_rank_is_that_of_the_matrix_square_root(rank: int) -> None:
    a, b = drawn(12, rank, 1).double(), drawn(12, 12, 2).double()
    first, second = a @ a.T, b @ b.T
    root = np.atleast_2d(sqrtm((a.T @ second @ a).numpy()))
    expected = float(first.trace() + second.trace()) - 2 * np.trace(root)
    pair = Moments(torch.zeros(12).double(), first), Moments(torch.zeros(12).double(), second)
    assert frechet_distance(*pair) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(*reversed(pair)) == pytest.approx(expected, rel=1e-6)  # the root of the rounding of zeros


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("size", [1, 2, 8, 64, 300])
def test_frechet_distance_of_undefined_moments_is_nan(bad: float, size: int) -> None:
    good, broken = drawn(80, size, 0), drawn(80, size, 1)
    broken[3, size // 2] = bad
    undefined = [broken, good[:1], good[:0], torch.full((80, size), bad), good.double() * 1e200]
    for samples in undefined:
        assert math.isnan(frechet_distance(moments(samples), moments(good)))
        assert math.isnan(frechet_distance(moments(good), moments(samples)))
        assert math.isnan(frechet_distance(moments(samples), moments(samples)))


@every_set
def test_kernel_distance(name: str) -> None:
    real, fake = SETS[name]
    x, y = exact(real), exact(fake)

    def kernel(a: Sequence[Fraction], b: Sequence[Fraction]) -> Fraction:
        return (sum((p * q for p, q in zip(a, b, strict=True)), Fraction(0)) / len(a) + 1) ** 3

    def within(z: list[list[Fraction]]) -> Fraction:
        pairs = [kernel(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]
        return sum(pairs, Fraction(0)) / len(pairs)

    between = sum((kernel(a, b) for a in x for b in y), Fraction(0)) / (len(x) * len(y))
    expected = float(within(x) + within(y) - 2 * between)
    assert squared_discrepancy(real, fake) == pytest.approx(expected, rel=1e-9, abs=1e-13)


def test_kernel_distance_of_single_samples_is_nan() -> None:
    assert math.isnan(squared_discrepancy(drawn(1, 3, 0), drawn(5, 3, 1)))
    assert math.isnan(squared_discrepancy(drawn(5, 3, 1), drawn(1, 3, 0)))


@pytest.mark.parametrize(
    ("name", "k"),
    [
        (name, k) for name, sets in SETS.items() for k in (1, 3) if min(map(len, sets)) > k
    ],  # more samples than neighbours
)
def test_precision_recall_density_and_coverage(name: str, k: int) -> None:
    real, fake = SETS[name]
    x, y = exact(real), exact(fake)

    def square(a: Sequence[Fraction], b: Sequence[Fraction]) -> Fraction:
        return sum(((p - q) ** 2 for p, q in zip(a, b, strict=True)), Fraction(0))

    def reach(z: list[list[Fraction]]) -> list[Fraction]:
        return [sorted(square(a, b) for j, b in enumerate(z) if i != j)[k - 1] for i, a in enumerate(z)]

    inside = np.array([[square(a, b) <= r for b in y] for a, r in zip(x, reach(x), strict=True)])
    recalled = np.array([[square(a, b) <= r for b, r in zip(y, reach(y), strict=True)] for a in x])
    expected = inside.any(0).mean(), recalled.any(1).mean(), inside.sum(0).mean() / k, inside.any(1).mean()
    assert neighbourhoods(real, fake, k) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e6])
def test_neighbours_of_copies(offset: float) -> None:
    for size in (2, 96, 700):
        x = drawn(300, size, 0).double() + offset
        assert neighbourhoods(x, x.flip(0), 3) == pytest.approx((1, 1, 4 / 3, 1), rel=1e-14)
        point = x[:1].repeat(64, 1)
        assert neighbourhoods(point, point.clone(), 3) == pytest.approx((1, 1, 64 / 3, 1), rel=1e-14)


def test_neighbours_far_off_are_those_at_the_origin() -> None:
    x, y = drawn(200, 40, 0).double(), drawn(150, 40, 1).double()
    x, y = (z.mul(2**20).round() / 2**20 for z in (x, y))  # so that the sum is exact
    expected = neighbourhoods(x, y, 5)
    assert 0 < expected.coverage < 1
    assert neighbourhoods(x + 2.0**20, y + 2.0**20, 5) == expected


def test_neighbours_with_one_sample_that_is_far_away() -> None:
    x, y = drawn(200, 10, 0).double(), drawn(150, 10, 1).double()
    expected = neighbourhoods(x, y, 3)
    y[7] = 1e12
    actual = neighbourhoods(x, y, 3)
    assert 0 < actual.density < expected.density + 1e-12 and actual.precision <= expected.precision


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e200])
def test_neighbours_of_non_finite_features_are_nan(bad: float) -> None:
    x, y = drawn(9, 3, 0).double(), drawn(8, 3, 1).double()
    y[2, 1] = bad
    assert all(map(math.isnan, neighbourhoods(x, y, 3))) and all(map(math.isnan, neighbourhoods(y, x, 3)))


def test_fast_distances_are_within_their_error_bound() -> None:
    for scale in (1.0, 1e-6, 1e8):
        x, y = drawn(50, 300, 0).double() * scale, drawn(40, 300, 1).double() + 3
        first, second = (distances.Points.around(torch.zeros(300, dtype=torch.float64), z) for z in (x, y))
        error = (distances.squared_distances(first, second) - distances.distances(x, y).square()).abs()
        assert (error <= first.rounding * (first.squares[:, None] + second.squares)).all()


@pytest.mark.parametrize(
    "name", ["ordinary", "duplicated", "far off", "very far off", "two and three", "rank deficient"]
)
def test_log_density_and_bandwidth(name: str) -> None:
    """By mpmath with 40 digits, for each candidate bandwidth."""
    real, fake = SETS[name]

    def by_hand(points: list[list[Fraction]], at: list[list[Fraction]], width: float) -> list[Any]:
        densities = []
        for x in at:
            squares = [sum((p - q) ** 2 for p, q in zip(x, y, strict=True)) for y in points]
            terms = [
                mpmath.exp(-mpmath.mpf(s.numerator) / s.denominator / (2 * mpmath.mpf(width) ** 2)) for s in squares
            ]
            normal = mpmath.sqrt(2 * mpmath.pi * mpmath.mpf(width) ** 2) ** len(x)
            densities.append(mpmath.log(mpmath.fsum(terms) / len(points) / normal))
        return densities

    with mpmath.workdps(40):
        points, at = exact(fake), exact(real)
        pairs = [sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) for i, a in enumerate(points) for b in points[:i]]
        candidates = np.median([math.sqrt(square) for square in pairs]) * FACTORS
        scores = []
        for width in candidates:
            folds = range(min(5, len(points)))
            apart = [([p for i, p in enumerate(points) if i % 5 != k], points[k::5]) for k in folds]
            scores.append(mpmath.fsum(number for rest, part in apart for number in by_hand(rest, part, float(width))))
        best = float(candidates[max(range(len(scores)), key=scores.__getitem__)])
        expected = [float(number) for number in by_hand(points, at, best)]
    wide, others = fake.double().numpy(), real.double().numpy()
    assert bandwidth(wide) == pytest.approx(best, rel=1e-12)
    np.testing.assert_allclose(log_density(wide, others, bandwidth(wide)), expected, rtol=1e-9)


class FixedContext(EvaluationContext):
    """A subject whose samples are given."""

    def __init__(self, samples: Tensor, data: Any) -> None:
        self.samples, self.generator = samples, torch.Generator().manual_seed(0)  # pyright: ignore
        self._data = data

    @property
    def data(self) -> Any:
        return self._data


@pytest.mark.parametrize("present", [1, 2, 4])
def test_log_likelihood_where_modes_are_missing(present: int) -> None:
    data = Ring(standard_deviation=0.02)
    modes = torch.arange(300) % present
    fake = (data.centres[modes] + 0.02 * drawn(300, 2, 3)).double()
    real = data.draw(300, torch.Generator().manual_seed(0))["real"].double()
    width = bandwidth(fake.numpy())
    squares = (real[:, None] - fake).square().sum(dim=2)
    expected = torch.logsumexp(-squares / (2 * width**2), dim=1).mean() - math.log(300 * 2 * math.pi * width**2)
    assert LogLikelihood(count=300)(FixedContext(fake, data)) == pytest.approx(float(expected), rel=1e-12)


def test_coverage_of_points_that_are_all_the_same() -> None:
    data = Ring()
    subject = FixedContext(data.centres[:1].repeat(50, 1), data)
    assert Coverage(count=50)(subject) == 0
    assert LogLikelihood(count=50)(subject) < -1e30


def test_inception_score_of_constant_and_one_hot_predictions() -> None:
    one_hot = torch.eye(10).repeat(3, 1)
    assert inception_score(one_hot, 1) == pytest.approx((10, 0), rel=1e-14)
    assert inception_score(one_hot, 3) == pytest.approx((10, 0), rel=1e-14)
    constant = torch.softmax(drawn(1, 10, 0), dim=1).repeat(7, 1)
    assert (
        inception_score(constant, 7) == pytest.approx((1, 0), rel=1e-6) and inception_score(constant, 1)[0] >= 1 - 1e-6
    )
    for count in (1, 2, 3):
        assert inception_score(one_hot[:count], 1)[0] == pytest.approx(count, rel=1e-14)
    one_hot[4, 2] = math.nan
    assert math.isnan(inception_score(one_hot, 1)[0]) and math.isnan(inception_score(one_hot, 3)[0])


def test_class_balance_of_uniform_and_one_hot_shares() -> None:
    shares = class_histogram(torch.eye(4).repeat(2, 1))
    assert entropy(shares) == pytest.approx(math.log(4), rel=1e-15) and total_variation(shares) == 0
    collapsed = class_histogram(torch.eye(4)[:1].repeat(9, 1))
    assert entropy(collapsed) == 0 and total_variation(collapsed) == 0.75
    broken = torch.eye(4)
    broken[1, 3] = math.nan
    for undefined in (class_histogram(broken), class_histogram(torch.zeros(0, 4))):
        assert undefined.shape == (4,) and undefined.isnan().all()
        assert math.isnan(entropy(undefined)) and math.isnan(total_variation(undefined))


def test_numbers_of_undefined_shares_and_logits_are_nan() -> None:
    logits = torch.tensor([[math.nan, 0.0], [1.0, 0.0]])
    assert math.isnan(label_accuracy(logits, torch.tensor([0, 0])))
    none = np.zeros(0, np.int64), np.zeros(0)
    assert math.isnan(jensen_shannon(none, none)) and math.isnan(jensen_shannon(ngram_shares(np.ones((2, 3)), 1), none))
    assert math.isnan(divergence_from_uniform(torch.zeros(0, dtype=torch.int64)))


class FixedGame:
    """Replaces a game whose generator returns given samples, with or without requested labels."""

    latent = 3
    latent_shape = (3,)

    def __init__(self, data: Any, samples: Tensor) -> None:
        self.data, self.samples = data, samples

    def sample(self, state: State, count: int, generator: torch.Generator) -> Tensor:
        return self.samples[:count]

    def generate(self, state: State, latents: Tensor, labels: Tensor) -> Tensor:
        return self.samples[: len(labels)]


def pixels(images: Tensor) -> tuple[Tensor, Tensor]:
    """Replace Inception: features and logits of uint8 images, finite for any images."""
    small = images.float().flatten(1)[:, :30] / 255
    return small, 5 * small[:, :8]


@pytest.fixture
def stub_inception(random_classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    network: Any = type("StubInception", (), {"to": lambda self, device: pixels})()
    monkeypatch.setattr(inception, "load", lambda weights=None: inception.Inception(network, "stub_inception"))


def samples_for(name: str, count: int) -> tuple[Any, Tensor]:
    """Return data that a metric applies to, and ordinary samples."""
    images = (0.5 * drawn(count, 784, 5)).clamp(-1, 1).reshape(count, 1, 28, 28)
    if name in ("fid", "kid", "inception_score"):
        shape = (3, 32, 32)
        return Arrays((0.3 * drawn(40, 3072, 6)).clamp(-1, 1).reshape(40, *shape)), 0.3 * drawn(count, 3072, 7).reshape(
            count, *shape
        )
    if name.startswith("stacked"):
        return StackedMnist(), images.repeat(1, 3, 1, 1)
    if name == "ngram_divergence":
        text = Text()
        return text, text.take(torch.arange(count))["real"]
    if name in ("modes_covered", "high_quality_fraction", "mode_divergence", "log_likelihood", "coverage"):
        ring = Ring()
        return ring, ring.draw(count, torch.Generator().manual_seed(0))["real"]
    return (Digits() if name == "class_total_variation" else Digits(classes=(3,))), images


def measured(name: str, samples: Tensor, data: Any) -> float:
    metric: Any = members("metrics")[name]()
    if name == "distance_to_solution":
        vectors = {"generator": samples.flatten()[:1], "discriminator": samples.flatten()[1:2]}
        return metric(EvaluationContext(DiracGAN(), State(torch.tensor(0), vectors), torch.Generator()))
    game: Any = FixedGame(data, samples)
    assert metric.applies(game)
    state = State(torch.tensor(0), {})
    return metric(EvaluationContext(game, state, torch.Generator().manual_seed(0), samples=len(samples)))


def first(samples: Tensor, value: float) -> Tensor:
    """Return samples with one number of the first replaced."""
    changed = samples.clone()
    changed.view(-1)[0] = value
    return changed


BROKEN: dict[str, Callable[[Tensor], Tensor]] = {
    "all NaN": lambda samples: samples * math.nan,
    "all infinite": lambda samples: torch.full_like(samples, math.inf),
    "all minus infinite": lambda samples: torch.full_like(samples, -math.inf),
    "one NaN": lambda samples: first(samples, math.nan),
    "one infinite": lambda samples: first(samples, math.inf),
    "one minus infinite": lambda samples: first(samples, -math.inf),
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("name", members("metrics"))
def test_non_finite_samples_give_nan_or_infinity(name: str, how: str, stub_inception) -> None:
    data, samples = samples_for(name, 40)
    good, actual = measured(name, samples, data), measured(name, BROKEN[how](samples), data)
    assert math.isfinite(good)
    if name == "distance_to_solution":
        assert not math.isfinite(actual)
    else:
        assert math.isnan(actual)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", members("metrics"))
def test_tiny_sets_are_measured_or_undefined(name: str, count: int, stub_inception) -> None:
    data, samples = samples_for(name, 3)
    actual = measured(name, samples[:count], data)
    needs: dict[str, int] = dict.fromkeys(
        ("classifier_frechet_distance", "frechet_distance", "kernel_distance", "fid", "kid"), 2
    )
    needs |= dict.fromkeys(("log_likelihood", "coverage"), 2)
    needs |= dict.fromkeys(("feature_precision", "feature_recall", "feature_density", "feature_coverage"), 4)
    needs |= dict.fromkeys(("classifier_score", "inception_score"), 10)
    assert math.isnan(actual) == (count < needs.get(name, 1))


@pytest.mark.parametrize("name", members("metrics"))
def test_a_constant_generator_is_measured(name: str, stub_inception) -> None:
    data, samples = samples_for(name, 40)
    actual = measured(name, samples[:1].expand_as(samples), data)
    exactly = {
        "class_entropy": 0.0,
        "classifier_score": 1.0,
        "inception_score": 1.0,
        "modes_covered": 1.0,
        "high_quality_fraction": 100.0,
        "stacked_modes": 1.0,
        "stacked_divergence": math.log(1000),
        "class_total_variation": 0.9,
    }
    assert math.isfinite(actual) and actual == pytest.approx(exactly.get(name, actual), rel=1e-6, abs=1e-12)
