"""What an extractor sees in samples and in data: computed once, and shared by every metric that asks."""

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

REAL = 10_000  # real samples that stand for a set, if it has so many
SEED = 20_170_601  # which of them, and in what order
PART = 128  # samples that an extractor sees at once
LARGEST_FILE = 2**27  # bytes of features that are worth keeping on disk

Found = TypeVar("Found")
_remembered: Any = WeakIdKeyDictionary()  # data → what was found out about it


class Seen(NamedTuple):
    """What an extractor sees in samples.

    Args:
        features: (count, features), float32.
        logits: (count, classes), float32.
    """

    features: Tensor
    logits: Tensor

    @classmethod
    def of(cls, images: Tensor, features: Tensor, logits: Tensor) -> Seen:
        """Return features and logits of images (count, …), NaN where the image is not finite.

        A network may hide that: clamping makes a pixel of infinity, and ReLU a feature of minus infinity.
        """
        undefined = ~images.flatten(1).isfinite().all(dim=1, keepdim=True)
        return cls(features.masked_fill(undefined, math.nan), logits.masked_fill(undefined, math.nan))

    @property
    def probabilities(self) -> Tensor:
        """Probabilities of the classes, (count, classes), float64."""
        return self.logits.double().softmax(dim=1)

    @property
    def defined(self) -> bool:
        """Whether every number is finite, which those of a diverged generator are not."""
        return bool(self.features.isfinite().all() and self.logits.isfinite().all())


class Extractor(Protocol):
    """A trained network that turns images into features and logits."""

    @property
    def key(self) -> str:
        """What tells this network from every other, its parameters included."""
        ...

    def look(self, images: Tensor) -> Seen:
        """Return what it sees in images (count, channels, height, width) in [-1, 1]."""
        ...


def of_samples(subject: EvaluationContext, extractor: Extractor) -> Seen:
    """Return what `extractor` sees in the generated samples of `subject`, looked at once for all metrics."""
    return subject.once(("seen", extractor.key), lambda: looked(extractor, subject.samples.split(PART)))


def of_data(data: Data, extractor: Extractor) -> Tensor:
    """Return the features of up to 10,000 real samples, (count, features) float32, in random order.

    They are the same ones at every call, looked at once: kept in memory while `data` lives, and in the cache's folder
    `features` under a checksum of the samples and the extractor's key.
    """
    return cached_on_data(data, ("features", extractor.key), lambda: _kept_on_disk(data, extractor))


def cached_on_data(data: Data, key: Hashable, compute: Callable[[], Found]) -> Found:
    """Return what `compute` finds out about `data`, computed at the first look under `key`."""
    if data not in _remembered:
        _remembered[data] = {}
    entries = _remembered[data]
    if key not in entries:
        entries[key] = compute()
    return entries[key]


def real_parts(data: Data) -> Iterator[Tensor]:
    """Yield up to 10,000 real samples, (≤ 128, *shape) at a time: always the same ones, in random order."""
    generator = torch.Generator().manual_seed(SEED)
    if isinstance(data, StoredData):
        for part in torch.randperm(data.size, generator=generator)[:REAL].split(PART):
            yield data.take(part)["real"]
        return
    for start in range(0, REAL, PART):
        yield data.draw(min(PART, REAL - start), generator)["real"]


@torch.no_grad()
def looked(extractor: Extractor, parts: Iterator[Tensor] | tuple[Tensor, ...]) -> Seen:
    """Return what `extractor` sees in samples that come in parts, on the processor."""
    outputs = [extractor.look(part) for part in parts]
    return Seen(
        torch.cat([output.features for output in outputs]).cpu(), torch.cat([output.logits for output in outputs]).cpu()
    )


def _kept_on_disk(data: Data, extractor: Extractor) -> Tensor:
    digest = hashlib.sha256(extractor.key.encode())
    for part in real_parts(data):
        digest.update(part.cpu().contiguous().numpy().data)
    try:
        file = cache() / "features" / f"{digest.hexdigest()[:40]}.npy"
    except RuntimeError:  # no home directory
        return looked(extractor, real_parts(data)).features
    with contextlib.suppress(OSError, ValueError, EOFError):  # missing, unreadable or damaged: look again
        return torch.from_numpy(np.load(file, allow_pickle=False))
    features = looked(extractor, real_parts(data)).features
    if features.nbytes <= LARGEST_FILE:
        with contextlib.suppress(OSError):  # a cache that cannot be written is no reason to stop
            _write(file, features.numpy())
    return features


def _write(file: Path, array: np.ndarray) -> None:
    """Write `array` to `file` so that no reader ever sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.save(stream, array)
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise
