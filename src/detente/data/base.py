"""The role of data: a distribution that real samples are drawn from, with a generator that it is handed."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Data(ABC):
    """Where real samples come from.

    A concrete set is a dataclass. `draw` uses no randomness but the generator it is given, so a run can be repeated
    and resumed exactly.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch."""

    @property
    def size(self) -> int | None:
        """Number of samples in the set, or None where it can be drawn from without end."""
        return None

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `{"real": (count, *shape) float32}`, and `"label": (count,) int64` where the set has labels."""
