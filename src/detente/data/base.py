"""Base classes of data: distributions from which real samples are drawn with a generator."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from dataclasses import fields, is_dataclass

import numpy as np
import torch
from torch import Tensor

from detente.ranks import Ranks, ranks


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
    exactly. Images stored as uint8 are converted to x / 127.5 - 1, float32 in [-1, 1], when they are read. Of several
    ranks that evaluate a batch together, each reads its own rows only; the others' are zero.
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
        current = ranks()
        if current is None:
            return {name: values.to(generator.device) for name, values in self.take(indices).items()}
        part = self.take(indices[current.rows(count)])
        return {name: whole_batch(values, current).to(generator.device) for name, values in part.items()}


def whole_batch(part: Tensor, ranks: Ranks) -> Tensor:
    """Return a batch with one rank's rows in their place, and zeros for those of the others.

    On a CPU the zeros take neither time nor memory, since NumPy leaves them to the system until they are read.
    """
    shape = (len(part) * ranks.count, *part.shape[1:])
    if part.device.type == "cpu":
        bytes_of_all = part.numel() * part.element_size() * ranks.count
        whole = torch.from_numpy(np.zeros(bytes_of_all, np.uint8)).view(part.dtype).reshape(shape)
    else:
        whole = part.new_zeros(shape)
    whole[ranks.rows(len(whole))] = part
    return whole
