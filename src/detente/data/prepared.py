"""Prepared image sets: one memory-mapped array, opened by name."""

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

IN_MEMORY_BYTES = 2**28  # maximum size of a set that may stay in memory once it is read


@dataclass(frozen=True)
class Prepared(StoredData):
    """An image set created by `detente data prepare NAME`, memory-mapped, in [-1, 1], with labels if it has any.

    Only the images of a batch are read, so that a set can be much larger than memory.

    Args:
        name: a name from `detente data list`, e.g. fashion_mnist, optionally with a size, as in celeba-32.
        split: split of the set, e.g. train or test; None: all of them.
        classes: the labels to keep, integers from 0, or None for all; labels are not renumbered.
        folder: folder of prepared sets; None: `sets` in $DETENTE_CACHE or ~/.cache/detente.

    Raises:
        InvalidValue: the set, split or class is unknown; or the set is not prepared, and the message contains the
            command that prepares it.
    """

    name: str
    split: str | None = "train"
    classes: tuple[int, ...] | None = None
    folder: str | Path | None = None

    def __post_init__(self) -> None:
        _ = self._prepared.span(self.split)  # read now, so that the constructor raises errors
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(self.classes))
            distinct = len(set(self.classes)) == len(self.classes) > 0
            count = 0 if self.labels is None else int(self.labels.max()) + 1
            require(count > 0, "classes", self.classes, f"None, since {self.name} has no labels")
            valid = distinct and all(type(label) is int and 0 <= label < count for label in self.classes)
            require(valid, "classes", self.classes, f"None, or different integers 0 … {count - 1}")
            require(self.size > 0, "classes", self.classes, "at least one class that occurs in the split")

    def __getstate__(self) -> dict[str, Any]:
        names = ("name", "split", "classes", "folder")  # copies open the file again
        return {name: getattr(self, name) for name in names}

    @cached_property
    def arrays(self) -> tuple[np.ndarray, Tensor | None]:
        """The samples as stored, (size, C, H, W) uint8, not copied, and their labels."""
        samples, span = self._prepared.samples, self._prepared.span(self.split)
        large = samples.nbytes > IN_MEMORY_BYTES and hasattr(os, "preadv")
        unlabelled = 0 if self.labels is None else int((self.labels < 0).sum())
        if not large and not unlabelled and (self.classes is None or self.labels is None):
            return samples[span], self.labels
        rows, labels = np.arange(span.start, span.stop), self.labels
        if unlabelled and labels is not None:
            text = f"{self.name}: {unlabelled} of {len(labels)} samples have no label and are left out"
            warnings.warn(text, stacklevel=3)
            rows, labels = rows[(labels >= 0).numpy()], labels[labels >= 0]
        if self.classes is not None and labels is not None:
            selected = torch.isin(labels, torch.tensor(self.classes))
            rows, labels = rows[selected.numpy()], labels[selected]
        if not large:
            return cast(np.ndarray, Rows(samples, rows)), labels
        descriptor = os.open(str(samples.filename), os.O_RDONLY)
        selection = Rows(samples, rows, descriptor)
        finalize(selection, os.close, descriptor)
        return cast(np.ndarray, selection), labels

    @cached_property
    def labels(self) -> Tensor | None:
        """Labels of the split, all classes, (N,) int64, -1 for a sample without a label; None if no sample has one."""
        labels = self._prepared.labels
        labels = None if labels is None else labels[self._prepared.span(self.split)]
        return None if labels is None or not len(labels) or int(labels.max()) < 0 else labels

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of their labels; empty if unknown."""
        return tuple(self._prepared.about["classes"])

    @cached_property
    def _prepared(self) -> PreparedArrays:
        return open_set(self.name, "images", self.folder)


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of a memory-mapped array: `store[rows]`, but rows are only read when they are indexed.

    Args:
        store: the whole array.
        rows: indices of the rows, in order, (size,) int64.
        descriptor: file descriptor to read from; None: read from the mapping, whose pages count as process memory.
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
        values = np.empty((len(rows), *self.store.shape[1:]), self.store.dtype)
        size = self.store.strides[0]
        for buffer, row in zip(values.reshape(len(rows), -1), rows.tolist(), strict=True):
            if os.preadv(self.descriptor, [buffer], self.store.offset + row * size) < size:  # pyright: ignore
                raise OSError(f"{self.store.filename} ends before row {row:,}")
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the selected rows."""
        return (len(self), *self.store.shape[1:])

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.store.ndim

    @property
    def dtype(self) -> np.dtype:
        """Data type of the values."""
        return self.store.dtype
