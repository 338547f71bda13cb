"""Features and logits of samples and of data: computed once, and shared by all metrics."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from detente.data.base import Data
from detente.data.cache import cache
from detente.metrics.features.real_samples import PART as PART
from detente.metrics.features.real_samples import REAL as REAL
from detente.metrics.features.real_samples import SEED as SEED
from detente.metrics.features.real_samples import cached_on_data as cached_on_data
from detente.metrics.features.real_samples import is_images, pixel_range, real_count
from detente.metrics.features.real_samples import real_parts as real_parts

if TYPE_CHECKING:
    from detente.metrics.context import EvaluationContext

LARGEST_FILE = 2**27  # largest number of bytes of features stored on disk


class Predictions(NamedTuple):
    """The outputs of an extractor for samples.

    Args:
        features: (count, features), float32.
        logits: (count, classes), float32; no classes if the network is no classifier.
    """

    features: Tensor
    logits: Tensor

    @classmethod
    def of(cls, images: Tensor, features: Tensor, logits: Tensor) -> Predictions:
        """Return features and logits of images (count, …), NaN if the image is not finite.

        Without this, a network may hide the problem: clamping turns infinity into a pixel, and ReLU −∞ into a feature.
        """
        undefined = ~images.flatten(1).isfinite().all(dim=1, keepdim=True)
        return cls(features.masked_fill(undefined, math.nan), logits.masked_fill(undefined, math.nan))

    @property
    def probabilities(self) -> Tensor:
        """The class probabilities, (count, classes), float64."""
        return self.logits.double().softmax(dim=1)

    @property
    def defined(self) -> bool:
        """Whether all numbers are finite; for a diverged generator they are not."""
        return bool(self.features.isfinite().all() and self.logits.isfinite().all())


class Extractor(ABC):
    """A trained network that turns samples into features and logits.

    Attributes:
        key: a unique name of this network and its parameters.
        resizer: how images are resized before the network, in words; empty if they are not.
        on_disk: whether real features may be stored on disk: whether the key identifies the network across processes.
        scaled: whether images must be in [-1, 1]; otherwise, they come as the data have them.
    """

    key: str
    resizer: str = ""
    on_disk: bool = True
    scaled: bool = True

    @abstractmethod
    def predict(self, images: Tensor) -> Predictions:
        """Return features and logits of samples (count, …); of images, in [-1, 1]."""


def of_samples(context: EvaluationContext, extractor: Extractor) -> Predictions:
    """Return the outputs of `extractor` for the generated samples of `context`, computed once for all metrics."""

    def compute() -> Predictions:
        parts = context.samples.split(PART)
        tracked = context.track(parts, f"features of samples: {extractor.key}", len(parts))
        return extract(extractor, (_scaled(extractor, context.data, part) for part in tracked))

    return context.once(("features", identity(extractor)), compute)


def of_data(data: Data, extractor: Extractor, count: int = REAL, context: EvaluationContext | None = None) -> Tensor:
    """Return the features of up to `count` real samples, (≤ count, features) float32, in random order.

    The samples are the same at every call. The features are computed once; they stay in memory as long as `data`, and
    in the cache's folder `features`, under a checksum of the samples and the extractor's key.

    Args:
        data: the data set.
        extractor: the network.
        count: largest number of samples; a smaller set gives all of its samples.
        context: shows the progress.
    """
    key = ("features", identity(extractor), real_count(data, count))
    return cached_on_data(data, key, lambda: _cached_on_disk(data, extractor, count, context))


def stamp(context: EvaluationContext, extractor: Extractor, real: int | None = None) -> dict[str, str | int]:
    """Return how a number on an extractor's features is measured, see `Metric.stamp`.

    Args:
        context: what is measured.
        extractor: the network.
        real: largest number of real samples; None if the metric uses none.
    """
    entries: dict[str, str | int] = {"extractor": extractor.key}
    if extractor.resizer:
        entries["resizer"] = extractor.resizer
    if extractor.scaled and is_images(context.data) and pixel_range(context.data) != (-1, 1):
        entries["pixels"] = "[{:g}, {:g}]".format(*pixel_range(context.data))
    if real is not None:
        entries["real"] = real_count(context.data, real)
    return {**entries, "samples": context.count}


def _scaled(extractor: Extractor, data: Data, samples: Tensor) -> Tensor:
    """Return samples for an extractor: images in [-1, 1], whatever the range of the data's pixels."""
    low, high = pixel_range(data) if extractor.scaled and is_images(data) else (-1.0, 1.0)
    return samples if (low, high) == (-1, 1) else (samples - low) * (2 / (high - low)) - 1


@torch.no_grad()
def extract(extractor: Extractor, parts: Iterable[Tensor]) -> Predictions:
    """Return the outputs of `extractor` for samples given in parts, on the CPU."""
    outputs = [extractor.predict(part) for part in parts]
    return Predictions(
        torch.cat([output.features for output in outputs]).cpu(), torch.cat([output.logits for output in outputs]).cpu()
    )


def identity(extractor: Extractor) -> object:
    """Return what identifies a network in memory."""
    return (extractor.key, extractor.resizer) if extractor.on_disk else extractor


def _cached_on_disk(data: Data, extractor: Extractor, count: int, context: EvaluationContext | None) -> Tensor:
    def compute() -> Tensor:
        parts, total = (part["real"] for part in real_parts(data, count)), -(-real_count(data, count) // PART)
        tracked = context.track(parts, f"features of data: {extractor.key}", total) if context else parts
        return extract(extractor, (_scaled(extractor, data, part) for part in tracked)).features

    if not extractor.on_disk:
        return compute()
    digest = hashlib.sha256(f"{extractor.key} {extractor.resizer}".encode())
    for part in real_parts(data, count):
        digest.update(part["real"].cpu().contiguous().numpy().data)
    try:
        file = cache() / "features" / f"{digest.hexdigest()[:40]}.npy"
    except RuntimeError:  # no home directory
        return compute()
    with contextlib.suppress(OSError, ValueError, EOFError):  # missing, unreadable or damaged: compute again
        return torch.from_numpy(np.load(file, allow_pickle=False))
    features = compute()
    if features.nbytes <= LARGEST_FILE:
        with contextlib.suppress(OSError):  # the result does not depend on a writable cache
            _write(file, features.numpy())
    return features


def _write(file: Path, array: np.ndarray) -> None:
    """Write `array` to `file` atomically, so that no reader sees an incomplete file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.save(stream, array)
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise
