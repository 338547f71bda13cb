"""Stacked MNIST: three digits as the channels of one image, which gives 1,000 modes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from detente.data.base import Data, StoredData
from detente.errors import require
from detente.registry import members

EMBEDDED = "digits"


@dataclass(frozen=True)
class StackedMnist(Data):
    """Three random digits as red, green and blue of one image, (3, resolution, resolution) in [-1, 1]: 1,000 modes.

    label = 100 * red + 10 * green + blue, each digit drawn independently and uniformly from the set of digits

    Args:
        digits: name of the set of digits: "digits" (5,000 digits, no preparation needed), or a prepared set of grey
            images with ten classes, e.g. mnist.
        resolution: height and width of the images in pixels, 4 … 1024; a prepared set must be prepared in this size.

    Source: Metz, Poole, Pfau, Sohl-Dickstein (2017), section 3.3.1; Srivastava et al. (2017), section 4.1.
    """

    digits: str = EMBEDDED
    resolution: int = 28

    def __post_init__(self) -> None:
        valid = type(self.resolution) is int and 4 <= self.resolution <= 1024
        require(valid, "resolution", self.resolution, "an integer, 4 … 1024")
        if self.digits != EMBEDDED:
            shape, count = self._set.shape, self._set.class_count
            shown = f"{self.digits}: {shape}, {count} classes"
            require(shape[0] == 1 and count == 10, "digits", shown, "digits, or a prepared set of grey digits, 0 … 9")

    @property
    def shape(self) -> tuple[int, ...]:
        return (3, self.resolution, self.resolution)

    @property
    def class_count(self) -> int:
        """Number of modes."""
        return 1000

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        digits = self._set.draw(3 * count, generator)
        images = digits["real"].reshape(count, *self.shape)
        return {"real": images, "label": digits["label"].reshape(count, 3) @ digits["label"].new_tensor([100, 10, 1])}

    @cached_property
    def _set(self) -> StoredData:
        """The set of single digits, looked up by name, since data sets never import each other."""
        if self.digits == EMBEDDED:
            return members("data")["digits"](resolution=self.resolution)
        name = self.digits if self.resolution == 28 else f"{self.digits.partition('-')[0]}-{self.resolution}"
        return members("data")["prepared"](name)
