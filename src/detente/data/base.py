"""Base classes of data: distributions from which real samples are drawn with a generator."""

from __future__ import annotations

import hashlib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass

import numpy as np
import torch
from torch import Tensor


class Data(ABC):
    """Base class of sources of real samples.

    Subclasses are dataclasses. `draw` uses no randomness except its generator, so that runs can be repeated and resumed
    exactly.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch."""

    @property
    def size(self) -> int | None:
        """Number of samples in the set, or None if it is unlimited."""
        return None

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that identify the set, a hash of its class, shape and settings."""
        settings = [(f.name, repr(getattr(self, f.name))) for f in fields(self)] if is_dataclass(self) else []
        settings = re.sub(r" at 0x[0-9a-f]+", "", str(settings))  # addresses differ between processes
        return hashlib.sha256(f"{type(self).__qualname__} {self.shape} {settings}".encode()).hexdigest()[:16]

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `{"real": (count, *shape) float32}`, and `"label": (count,) int64` if the set has labels."""


class StoredData(Data):
    """Base class of finite sets stored as one array, in memory or memory-mapped.

    Samples are drawn independently and uniformly, with replacement, so that the generator's state is enough to resume
    exactly. Images stored as uint8 are converted to x / 127.5 - 1, float32 in [-1, 1], when they are read.
    """

    @property
    @abstractmethod
    def arrays(self) -> tuple[Tensor | np.ndarray, Tensor | None]:
        """The samples as stored, (size, *shape), uint8 or floating point, and their labels, (size,) int64, or None."""

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.arrays[0].shape[1:])

    @property
    def size(self) -> int:
        return len(self.arrays[0])

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that identify the set, a hash of its size, labels and samples.

        For a set of more than 2²³ numbers, only evenly spaced samples are hashed.
        """
        labels = self.arrays[1]
        count = min(self.size, max(256, 2**23 // max(1, int(np.prod(self.shape)))))
        indices = torch.linspace(0, self.size - 1, count, dtype=torch.float64).round().long()
        digest = hashlib.sha256(f"{self.shape} {self.size}".encode())
        if labels is not None:
            digest.update(labels.cpu().contiguous().numpy().tobytes())
        for chunk in indices.split(256):
            digest.update(self.take(chunk)["real"].cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def class_count(self) -> int | None:
        """One more than the largest label, or None if the set has no labels."""
        labels = self.arrays[1]
        return None if labels is None else int(labels.max()) + 1

    def take(self, indices: Tensor) -> dict[str, Tensor]:
        """Return the samples at `indices`, (count,) int64, in the same format as `draw`."""
        store, labels = self.arrays
        if not isinstance(store, Tensor):
            rows = store[indices.cpu().numpy()]
            real = torch.from_numpy(rows if rows.dtype == np.uint8 else rows.astype(np.float32, copy=False))
        elif store.ndim == 4 and not store.is_contiguous():  # copying images in memory order is fastest
            real = store.permute(0, 2, 3, 1).index_select(0, indices.to(store.device)).permute(0, 3, 1, 2)
        else:
            real = store.index_select(0, indices.to(store.device))
        real = real.contiguous()
        real = real.float().div_(127.5).sub_(1) if real.dtype == torch.uint8 else real.float()
        return {"real": real} if labels is None else {"real": real, "label": labels[indices.to(labels.device)]}

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        indices = torch.randint(self.size, (count,), generator=generator, device=generator.device)
        rows = rows_to_read(count)
        if rows is None:
            return {name: values.to(generator.device) for name, values in self.take(indices).items()}
        part = self.take(indices[rows])
        return {name: in_whole_batch(values, rows, count).to(generator.device) for name, values in part.items()}


_READ: ContextVar[tuple[int, Tensor] | None] = ContextVar("rows to read", default=None)


@contextmanager
def reading(size: int, rows: Tensor | None) -> Iterator[None]:
    """Context in which stored data read only some samples of each batch that is drawn; the others are zero.

    Args:
        size: number of samples in a batch.
        rows: indices of the samples to read, int64; None: all.
    """
    token = _READ.set(None if rows is None else (size, rows))
    try:
        yield
    finally:
        _READ.reset(token)


def rows_to_read(count: int) -> Tensor | None:
    """Return the indices of the samples to read in a batch of `count`, int64; None: all.

    A batch that is some times as large as expected has so many parts for each sample, next to each other.
    """
    selection = _READ.get()
    if selection is None or count % selection[0]:
        return None
    parts = count // selection[0]
    return (selection[1].unsqueeze(1) * parts + torch.arange(parts)).flatten()


def in_whole_batch(part: Tensor, rows: Tensor, count: int) -> Tensor:
    """Return a batch of `count` samples with `part` at the indices `rows`, and zeros elsewhere.

    On a CPU the zeros take neither time nor memory, since NumPy leaves them to the system until they are read.
    """
    shape = (count, *part.shape[1:])
    if part.device.type == "cpu":
        expanded = torch.from_numpy(np.zeros(math.prod(shape) * part.element_size(), np.uint8)).view(part.dtype)
        expanded = expanded.reshape(shape)
    else:
        expanded = part.new_zeros(shape)
    expanded[rows.to(part.device)] = part
    return expanded
