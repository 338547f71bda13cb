"""Image sets that were prepared once: one memory-mapped array, opened by name."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast
from weakref import finalize

import numpy as np
import torch
from torch import Tensor

from detente.data.base import StoredData
from detente.data.cache import PreparedArrays, open_set
from detente.errors import require

SMALL = 2**28  # bytes: a set that may stay in memory once it was read


@dataclass(frozen=True)
class Prepared(StoredData):
    """A set of images made by `detente data prepare NAME`, memory-mapped, in [-1, 1], with its labels if it has any.

    Only the images of a batch are read: sets far larger than the memory draw as fast as small ones.

    Args:
        name: as in `detente data list`, e.g. fashion_mnist; a size may follow, as in celeba-32.
        split: which part of the set, e.g. train or test; None: all of it.
        classes: the labels to keep, whole numbers from 0, or None for all; labels stay what they are.
        folder: of prepared sets; None: the cache's, `sets` in $DETENTE_CACHE or ~/.cache/detente.

    Raises:
        InvalidValue: no such set, split or class; for a set that is not prepared yet, with the command that does it.
    """

    name: str
    split: str | None = "train"
    classes: tuple[int, ...] | None = None
    folder: str | Path | None = None

    def __post_init__(self) -> None:
        _ = self._opened.span(self.split)  # so that a mistake shows when the object is built
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(self.classes))
            valid = len(set(self.classes)) == len(self.classes) > 0 and all(type(one) is int for one in self.classes)
            count = 0 if self.labels is None else int(self.labels.max()) + 1
            require(count > 0, "classes", self.classes, f"None, since {self.name} has no labels here")
            valid = valid and all(0 <= one < count for one in self.classes)
            require(valid, "classes", self.classes, f"None, or different whole numbers 0 … {count - 1}")
            require(self.size > 0, "classes", self.classes, "at least one class that the split has")

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("name", "split", "classes", "folder")}  # copies open it anew

    @cached_property
    def arrays(self) -> tuple[np.ndarray, Tensor | None]:
        """The samples as stored, (size, C, H, W) uint8, indexed but not copied, and their labels."""
        samples, span = self._opened.samples, self._opened.span(self.split)
        large = samples.nbytes > SMALL and hasattr(os, "preadv")
        unlabelled = 0 if self.labels is None else int((self.labels < 0).sum())
        if not large and not unlabelled and (self.classes is None or self.labels is None):
            return samples[span], self.labels
        rows, labels = np.arange(span.start, span.stop), self.labels
        if unlabelled and labels is not None:
            text = f"{self.name}: {unlabelled} of {len(labels)} samples have no label and are left out"
            warnings.warn(text, stacklevel=3)
            rows, labels = rows[(labels >= 0).numpy()], labels[labels >= 0]
        if self.classes is not None and labels is not None:
            chosen = torch.isin(labels, torch.tensor(self.classes))
            rows, labels = rows[chosen.numpy()], labels[chosen]
        if not large:
            return cast(np.ndarray, Rows(samples, rows)), labels
        descriptor = os.open(str(samples.filename), os.O_RDONLY)
        found = Rows(samples, rows, descriptor)
        finalize(found, os.close, descriptor)
        return cast(np.ndarray, found), labels

    @cached_property
    def labels(self) -> Tensor | None:
        """Labels of the split, all classes of it, (N,) int64, -1 where a sample has none; None where all have none."""
        labels = self._opened.labels
        labels = None if labels is None else labels[self._opened.span(self.split)]
        return None if labels is None or not len(labels) or int(labels.max()) < 0 else labels

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of their labels; empty where the source does not say."""
        return tuple(self._opened.about["classes"])

    @cached_property
    def _opened(self) -> PreparedArrays:
        return open_set(self.name, "images", self.folder)


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of a memory-mapped array, read only when asked for: what `store[rows]` would copy.

    Args:
        store: the whole array.
        rows: which of it, in order, (size,) int64.
        descriptor: of its file, to be read by calls: pages of a mapping would count as the process's own memory.
    """

    store: np.memmap
    rows: np.ndarray
    descriptor: int | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = self.rows[index]
        if self.descriptor is None or rows.ndim != 1:
            return self.store[rows]
        found = np.empty((len(rows), *self.store.shape[1:]), self.store.dtype)
        size = self.store.strides[0]
        for one, row in zip(found.reshape(len(rows), -1), rows.tolist(), strict=True):
            if os.preadv(self.descriptor, [one], self.store.offset + row * size) < size:  # pyright: ignore
                raise OSError(f"{self.store.filename} ends before row {row:,}")
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, as an array's."""
        return (len(self), *self.store.shape[1:])

    @property
    def ndim(self) -> int:
        """Number of axes, as an array's."""
        return self.store.ndim

    @property
    def dtype(self) -> np.dtype:
        """Type of the numbers, as an array's."""
        return self.store.dtype
