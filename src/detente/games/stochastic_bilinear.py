"""A bilinear game as a finite sum, to study the effect of noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from detente.errors import require
from detente.game import Batch, Buffers, Game, Vectors


class StochasticBilinear(Game):
    """Bilinear game as a mean of n = d terms: f = (1/n) Σᵢ (xᵀMᵢy + aᵢᵀx + bᵢᵀy), L_x = f, L_y = −f, Mᵢ = eᵢeᵢᵀ.

    aᵢ and bᵢ are normal with variance 1/d. At the solution x* = −Σᵢ bᵢ, y* = −Σᵢ aᵢ, the gradient of the mean is zero,
    but the gradients of single terms are not.

    Args:
        dimension: d, the length of x and of y, and the number of terms, ≥ 1.
        batch: terms in a batch, drawn uniformly with replacement, ≥ 1 and at most `dimension`.
        seed: seed of aᵢ and bᵢ, ≥ 0; they are the same for all seeds of a training.
        start: initial point of both players, x then y; default: normal with variance 1/d, drawn per seed.

    Source: Chavdarova, Gidel, Fleuret & Lacoste-Julien 2019, Reducing Noise in GAN Training with Variance Reduced
        Extragradient (arXiv:1904.08598), section 5 and reference code.
    """

    zero_sum = True

    def __init__(
        self, dimension: int = 100, batch: int = 1, seed: int = 0, start: Sequence[float] | None = None
    ) -> None:
        require(dimension >= 1, "dimension", dimension, "an integer ≥ 1")
        require(1 <= batch <= dimension, "batch", batch, f"an integer from 1 to the {dimension} terms")
        require(seed >= 0, "seed", seed, "an integer ≥ 0")
        if start is not None:
            require(len(start) == 2 * dimension, "start", list(start), f"{2 * dimension} numbers, x then y")
        self.dimension, self.batch, self.start = dimension, batch, start
        generator = torch.Generator().manual_seed(seed)
        normal = torch.randn(2, dimension, dimension, generator=generator, dtype=torch.float64) / dimension**0.5
        self.of_x, self.of_y = normal  # a and b, one row per term
        self.solution = {"x": -self.of_y.sum(0), "y": -self.of_x.sum(0)}

    @property
    def players(self) -> tuple[str, ...]:
        """The minimiser x and the maximiser y."""
        return ("x", "y")

    @property
    def size(self) -> int:
        """Number of terms."""
        return self.dimension

    def initial(self, generator: torch.Generator) -> tuple[Vectors, Buffers]:
        """Return the initial point, float64."""
        d = self.dimension
        if self.start is None:
            point = torch.randn(2 * d, generator=generator, dtype=torch.float64, device=generator.device) / d**0.5
        else:
            point = torch.tensor(list(self.start), dtype=torch.float64)
        return {"x": point[:d].clone(), "y": point[d:].clone()}, {}

    def draw(self, generator: torch.Generator) -> Batch:
        """Return the indices of the batch's terms, int64 (batch,)."""
        return {"term": torch.randint(self.size, (self.batch,), generator=generator, device=generator.device)}

    def parts(self, count: int | None = None) -> Iterator[Batch]:
        """Yield all terms once, in batches of `count`."""
        for terms in torch.arange(self.size).split(count or self.batch):
            yield {"term": terms}

    def losses(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Buffers]:
        """Return f and −f over the batch's terms."""
        x, y, term = vectors["x"], vectors["y"], batch["term"]
        of_x, of_y = self.of_x.to(x.device)[term].mean(0), self.of_y.to(x.device)[term].mean(0)
        value = (x[term] * y[term]).mean() + of_x @ x + of_y @ y
        return {"x": value, "y": -value}, buffers
