"""Image sets that were prepared once: one memory-mapped array, opened by name."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from detente.data.base import StoredData
from detente.data.cache import Opened, open_set
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
        store = self._opened.samples[self._opened.span(self.split)]
        if self.classes is None or self.labels is None:
            return store, self.labels
        rows = torch.isin(self.labels, torch.tensor(self.classes)).nonzero()[:, 0]
        return cast(np.ndarray, Rows(store, rows.numpy())), self.labels[rows]

    @cached_property
    def labels(self) -> Tensor | None:
        """Labels of the split, all classes of it, (N,) int64, or None where it has none."""
        labels = self._opened.labels
        labels = None if labels is None else labels[self._opened.span(self.split)]
        return None if labels is None or not len(labels) or int(labels.min()) < 0 else labels

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of their labels; empty where the source does not say."""
        return tuple(self._opened.about["classes"])

    def take(self, indices: Tensor) -> dict[str, Tensor]:
        batch = super().take(indices)
        if self._opened.samples.nbytes > SMALL:  # pages read count as this process's own until they are given back
            mapping = getattr(self._opened.samples, "_mmap", None)
            if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
                mapping.madvise(mmap.MADV_DONTNEED)
        return batch

    @cached_property
    def _opened(self) -> Opened:
        opened = open_set(self.name, "images", self.folder)
        mapping = getattr(opened.samples, "_mmap", None)
        if mapping is not None and opened.samples.nbytes > SMALL and hasattr(mmap, "MADV_RANDOM"):
            mapping.madvise(mmap.MADV_RANDOM)  # reading ahead is wasted on single images
        return opened


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of an array, read only when asked for: what `store[rows]` would copy.

    Args:
        store: the whole array.
        rows: which of it, in order, (size,) int64.
    """

    store: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.store[self.rows[index]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.store[self.rows], dtype)

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
