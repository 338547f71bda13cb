"""A finite set of points drawn from a mixture with known modes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from detente.data.base import Data, StoredData
from detente.errors import InvalidValue, require


@dataclass(frozen=True, eq=False)
class FixedMixture(StoredData):
    """A finite set of points drawn from a mixture of Gaussians, for methods that need finite sums as losses.

    Args:
        mixture: distribution of the points, a member of `detente.data` with known modes.
        count: number of points, at least 1.
        seed: seed of the points, ≥ 0; it is independent of the seed of the training.

    Source: Gulrajani et al. (2017), toy experiments (100,000 fixed points of the grid).
    """

    mixture: Data
    count: int = 25_600
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.count >= 1, "count", self.count, "an integer ≥ 1")
        require(self.seed >= 0, "seed", self.seed, "an integer ≥ 0")
        if not hasattr(self.mixture, "centres"):
            raise InvalidValue("mixture", type(self.mixture).__name__, "data with known modes, e.g. a ring or grid")

    @cached_property
    def arrays(self) -> tuple[Tensor, None]:
        """The points, (count, 2)."""
        return self.mixture.draw(self.count, torch.Generator().manual_seed(self.seed))["real"], None

    @property
    def centres(self) -> Tensor:
        """Centres of the modes."""
        return self._mixture.centres

    @property
    def standard_deviation(self) -> float:
        """Standard deviation of every mode."""
        return self._mixture.standard_deviation

    @property
    def weights(self) -> Tensor:
        """Probability of each mode in the mixture."""
        return self._mixture.weights

    @property
    def _mixture(self) -> Any:
        return self.mixture
