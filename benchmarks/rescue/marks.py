"""Criteria of failure and success, as functions of samples."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from detente.metrics.features import classifier
from detente.metrics.frechet import Moments, frechet_distance, moments

Measures = Mapping[str, float]


@dataclass(frozen=True)
class Marks(ABC):
    """Criteria of failure and success. Everything is measured once, so that the table can be made later.

    Attributes:
        count: number of samples to measure.
        observed: whether samples during the last third of a run also count (`history`).
    """

    count: ClassVar[int] = 4000
    observed: ClassVar[bool] = False

    @abstractmethod
    def measure(self, samples: Tensor, real: Tensor, history: Sequence[Tensor] = ()) -> dict[str, float]:
        """Return the numbers that the criteria need; empty if the samples are not finite."""

    @abstractmethod
    def failed_by(self, measures: Measures) -> bool:
        """Return whether these numbers show the failure. Without numbers they do: the samples were not finite."""

    @abstractmethod
    def cured_by(self, measures: Measures, healthy: float | None = None) -> bool:
        """Return whether these numbers show success; `healthy` is the healthy twin's Fréchet distance, if known."""

    def failed(self, samples: Tensor, real: Tensor, history: Sequence[Tensor] = ()) -> bool:
        """Return whether samples, (count, …), show the failure."""
        return self.failed_by(self.measure(samples, real, history))

    def cured(self, samples: Tensor, real: Tensor, history: Sequence[Tensor] = ()) -> bool:
        """Return whether samples, (count, …), show success; for digits, without the distance of a healthy twin."""
        return self.cured_by(self.measure(samples, real, history))


def finite(samples: Tensor) -> bool:
    """Return whether samples can be measured at all."""
    return bool(samples.isfinite().all())


def counted_modes(samples: Tensor, centres: Tensor, deviation: float, least: Tensor | float) -> tuple[int, float]:
    """Return the number of modes with a share `least` of the samples within 3 σ, and the share within 3 σ of any."""
    distances, nearest = torch.cdist(samples.double(), centres.double()).min(1)
    near = distances <= 3 * deviation
    shares = torch.bincount(nearest[near], minlength=len(centres)) / len(samples)
    return int((shares >= least).sum()), float(near.double().mean())


@dataclass(frozen=True)
class RingA(Marks):
    """8 Gaussians, radius 3: fails with variance < 1 or ≤ 4 modes; 3.6–5.5, 8 modes and ≥ 80 % near is success.

    Args:
        centres: centres of the modes.
        deviation: standard deviation of a mode.
    """

    centres: Tensor
    deviation: float = 0.25

    def measure(self, samples: Tensor, real: Tensor, history: Sequence[Tensor] = ()) -> dict[str, float]:
        if not finite(samples):
            return {}
        modes, near = counted_modes(samples, self.centres, self.deviation, 0.04)
        return {"variance": float(samples.double().var(0).mean()), "modes": modes, "near": near}

    def failed_by(self, measures: Measures) -> bool:
        return not measures or not measures["variance"] >= 1 or measures["modes"] <= 4

    def cured_by(self, measures: Measures, healthy: float | None = None) -> bool:
        return (
            bool(measures)
            and 3.6 <= measures["variance"] <= 5.5
            and measures["modes"] == len(self.centres)
            and measures["near"] >= 0.8
        )


@dataclass(frozen=True)
class RingB(Marks):
    """A narrow ring: fails with ≤ 4 modes at the end, or usually (visited in turn); ≥ 7/8 of modes, 70 % near succeed.

    A mode counts with a quarter of its real share of the samples within 3 σ; the sources give no share.

    Args:
        centres: centres of the modes.
        weights: probability of each.
        deviation: standard deviation of a mode.
    """

    centres: Tensor
    weights: Tensor
    deviation: float

    observed: ClassVar[bool] = True

    def measure(self, samples: Tensor, real: Tensor, history: Sequence[Tensor] = ()) -> dict[str, float]:
        if not finite(samples):
            return {}
        modes, near = counted_modes(samples, self.centres, self.deviation, 0.25 * self.weights)
        over_time = [
            counted_modes(x, self.centres, self.deviation, 0.25 * self.weights)[0] for x in history if finite(x)
        ]
        usual = float(torch.tensor([*over_time, modes]).double().median())
        return {"modes": modes, "near": near, "usual modes": usual}

    def failed_by(self, measures: Measures) -> bool:
        return not measures or min(measures["modes"], measures["usual modes"]) <= 4

    def cured_by(self, measures: Measures, healthy: float | None = None) -> bool:
        return bool(measures) and measures["modes"] >= 7 / 8 * len(self.centres) and measures["near"] >= 0.7


@dataclass(frozen=True)
class Scalar(Marks):
    """Scalar Gaussian: fails with the mean off by > 1 σ or σ off by > 2 ×; within 0.25 σ and 25 % is success."""

    def measure(self, samples: Tensor, real: Tensor, history: Sequence[Tensor] = ()) -> dict[str, float]:
        if not finite(samples):
            return {}
        x, y = samples.double().flatten(), real.double().flatten()
        return {"mean off": float((x.mean() - y.mean()).abs() / y.std()), "sd ratio": float(x.std() / y.std())}

    def failed_by(self, measures: Measures) -> bool:
        return not measures or measures["mean off"] > 1 or not 0.5 <= measures["sd ratio"] <= 2

    def cured_by(self, measures: Measures, healthy: float | None = None) -> bool:
        return bool(measures) and measures["mean off"] <= 0.25 and 0.75 <= measures["sd ratio"] <= 1.25


@dataclass(frozen=True)
class Uniform57(Marks):
    """Uniform on [5, 7]: fails if the mean swings by > 1 for the last third, or the range is < 0.5.

    Success: mean 6 ± 0.2 and swing < 0.2, and range 1.5–2.5 unless the discriminator leaves it under-determined.

    Args:
        with_range: whether success needs the range.
    """

    with_range: bool = True

    observed: ClassVar[bool] = True

    def measure(self, samples: Tensor, real: Tensor, history: Sequence[Tensor] = ()) -> dict[str, float]:
        if not finite(samples):
            return {}
        means = [float(x.double().mean()) for x in (*history, samples)]
        return {"mean": means[-1], "range": float(samples.max() - samples.min()), "swing": max(means) - min(means)}

    def failed_by(self, measures: Measures) -> bool:
        return not measures or measures["swing"] > 1 or measures["range"] < 0.5

    def cured_by(self, measures: Measures, healthy: float | None = None) -> bool:
        if not measures or not abs(measures["mean"] - 6) <= 0.2 or not measures["swing"] < 0.2:
            return False
        return not self.with_range or 1.5 <= measures["range"] <= 2.5


@dataclass(frozen=True)
class DigitImages(Marks):
    """Digits: fails with < 10 % of the pixels' variance, ≤ 3 classes, or mean or σ off by > 50 %.

    Success is ≥ 9 classes with ≥ 2 % each, and a Fréchet distance on the classifier's features of at most 1.5 times the
    healthy twin's.

    Args:
        low: value of black pixels; white is 1.
    """

    low: float = -1.0

    count: ClassVar[int] = 2000

    def _images(self, samples: Tensor) -> Tensor:
        side = math.isqrt(samples[0].numel())
        images = samples.float().reshape(-1, 1, side, side)
        return images if self.low == -1 else 2 * images - 1

    def measure(self, samples: Tensor, real: Tensor, history: Sequence[Tensor] = ()) -> dict[str, float]:
        if not finite(samples):
            return {}
        x, y = ((self._images(each).double() + 1) / 2 for each in (samples, real))
        prediction = _classifier().predict(self._images(samples).clamp(-10, 10))
        shares = torch.bincount(prediction.logits.argmax(1), minlength=10) / len(samples)
        return {
            "variance": float(x.var(0).sum() / y.var(0).sum()),
            "classes": int((shares >= 0.02).sum()),
            "mean off": float((x.mean() - y.mean()).abs() / y.mean()),
            "sd off": float((x.std() - y.std()).abs() / y.std()),
            "distance": frechet_distance(self._moments(real), moments(prediction.features)),
        }

    def _moments(self, real: Tensor) -> Moments:
        key = (real.data_ptr(), tuple(real.shape), self.low)
        if key not in _KNOWN:
            _KNOWN[key] = (real, moments(_classifier().features(self._images(real))))
        return _KNOWN[key][1]

    def failed_by(self, measures: Measures) -> bool:
        return (
            not measures
            or not measures["variance"] >= 0.1
            or measures["classes"] <= 3
            or max(measures["mean off"], measures["sd off"]) > 0.5
        )

    def cured_by(self, measures: Measures, healthy: float | None = None) -> bool:
        if self.failed_by(measures) or measures["classes"] < 9:
            return False
        return healthy is None or measures["distance"] <= 1.5 * healthy


_KNOWN: dict[tuple, tuple[Tensor, Moments]] = {}  # the samples are kept, so that their address stays theirs


def _classifier() -> classifier.Classifier:
    return classifier.load("digits")
