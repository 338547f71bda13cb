"""Features and logits of samples and of data: computed once, and shared by all metrics."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import tempfile
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from detente.data.base import Data, StoredData
from detente.data.cache import cache
from detente.metrics.context import EvaluationContext

REAL = 10_000  # largest number of real samples that represent a data set
SEED = 20_170_601  # determines these samples and their order
PART = 128  # samples in one call of an extractor
LARGEST_FILE = 2**27  # largest number of bytes of features stored on disk

Result = TypeVar("Result")
_results_by_data: Any = WeakIdKeyDictionary()  # data → results by key


class Predictions(NamedTuple):
    """The outputs of an extractor for samples.

    Args:
        features: (count, features), float32.
        logits: (count, classes), float32.
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


class Extractor(Protocol):
    """A trained network that turns images into features and logits."""

    @property
    def key(self) -> str:
        """A unique name of this network and its parameters."""
        ...

    def predict(self, images: Tensor) -> Predictions:
        """Return features and logits of images (count, channels, height, width) in [-1, 1]."""
        ...


def of_samples(subject: EvaluationContext, extractor: Extractor) -> Predictions:
    """Return the outputs of `extractor` for the generated samples of `subject`, computed once for all metrics."""
    return subject.once(("seen", extractor.key), lambda: extract(extractor, subject.samples.split(PART)))


def of_data(data: Data, extractor: Extractor) -> Tensor:
    """Return the features of up to 10,000 real samples, (count, features) float32, in random order.

    The samples are the same at every call. The features are computed once; they stay in memory as long as `data`, and
    in the cache's folder `features`, under a checksum of the samples and the extractor's key.
    """
    return cached_on_data(data, ("features", extractor.key), lambda: _cached_on_disk(data, extractor))


def cached_on_data(data: Data, key: Hashable, compute: Callable[[], Result]) -> Result:
    """Return the result of `compute` for `data`, which runs once per `key`."""
    if data not in _results_by_data:
        _results_by_data[data] = {}
    entries = _results_by_data[data]
    if key not in entries:
        entries[key] = compute()
    return entries[key]


def real_parts(data: Data) -> Iterator[Tensor]:
    """Yield up to 10,000 real samples, (≤ 128, *shape) at a time: always the same samples, in random order."""
    generator = torch.Generator().manual_seed(SEED)
    if isinstance(data, StoredData):
        for part in torch.randperm(data.size, generator=generator)[:REAL].split(PART):
            yield data.take(part)["real"]
        return
    for start in range(0, REAL, PART):
        yield data.draw(min(PART, REAL - start), generator)["real"]


@torch.no_grad()
def extract(extractor: Extractor, parts: Iterator[Tensor] | tuple[Tensor, ...]) -> Predictions:
    """Return the outputs of `extractor` for samples given in parts, on the CPU."""
    outputs = [extractor.predict(part) for part in parts]
    return Predictions(
        torch.cat([output.features for output in outputs]).cpu(), torch.cat([output.logits for output in outputs]).cpu()
    )


def _cached_on_disk(data: Data, extractor: Extractor) -> Tensor:
    digest = hashlib.sha256(extractor.key.encode())
    for part in real_parts(data):
        digest.update(part.cpu().contiguous().numpy().data)
    try:
        file = cache() / "features" / f"{digest.hexdigest()[:40]}.npy"
    except RuntimeError:  # no home directory
        return extract(extractor, real_parts(data)).features
    with contextlib.suppress(OSError, ValueError, EOFError):  # missing, unreadable or damaged: compute again
        return torch.from_numpy(np.load(file, allow_pickle=False))
    features = extract(extractor, real_parts(data)).features
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
