"""Games whose Jacobians are known as matrices, and a zero-sum GAN small enough for finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from detente.autodiff import vector_field
from detente.fields.base import Field
from detente.game import Batch, Buffers, Game, Vectors
from detente.games.adversarial import Adversarial
from detente.games.quadratic import Quadratic
from detente.networks.mlp import MLP
from detente.state import Tree
from tests.gradient_count import counted_gradients

Array = NDArray[np.float64]


class Three(Game):
    """Three players of two numbers each, a quadratic loss each."""

    def __init__(self) -> None:
        matrix = np.random.default_rng(5).normal(size=(6, 6))
        self.dense = torch.tensor(matrix)
        for i in range(3):
            block = self.dense[2 * i : 2 * i + 2, 2 * i : 2 * i + 2]
            block.copy_(block + block.T)

    @property
    def players(self) -> tuple[str, ...]:
        return ("a", "b", "c")

    def initial(self, generator: torch.Generator) -> tuple[Vectors, Buffers]:
        start = torch.randn(6, generator=generator, dtype=torch.float64)
        return dict(zip(self.players, start.split(2), strict=True)), {}

    def losses(
        self, vectors: Vectors, buffers: Buffers, batch: Batch, players: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Tensor], Buffers]:
        everybody, losses = torch.cat([vectors[name] for name in self.players]), {}
        for i, name in enumerate(self.players):
            rows = slice(2 * i, 2 * i + 2)
            vector = vectors[name]
            losses[name] = vector @ (self.dense[rows] @ everybody) - vector @ (self.dense[rows, rows] @ vector) / 2
        return losses, buffers


def quadratic(seed: int = 0, n: int = 4, m: int = 3, zero_sum: bool = True) -> tuple[Quadratic, Array]:
    """Return a random game of x, (n,), and y, (m,), and the Jacobian of its field, (n + m, n + m)."""
    random = np.random.default_rng(seed)
    own_x, own_y = random.normal(size=(n, n)), random.normal(size=(m, m))
    own_x, own_y = own_x + own_x.T, own_y + own_y.T
    coupling, back = random.normal(size=(n, m)), random.normal(size=(m, n))
    back = -coupling.T if zero_sum else back
    a, b, c, e = (torch.tensor(matrix) for matrix in (own_x, coupling, own_y, back))
    game = Quadratic(a, b, c, None if zero_sum else e)
    return game, np.block([[own_x, coupling], [back, own_y]])


def gan(batch: int = 4) -> Adversarial:
    """Return a smooth zero-sum GAN of about forty numbers in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generator, discriminator = MLP(3, 2, 4, 1, "tanh").double(), MLP(2, 1, 4, 1, "tanh").double()
    data = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    return Adversarial(generator, discriminator, data, 3, "minimax", batch=batch)


def start(game: Game, seed: int = 0) -> tuple[Vectors, Buffers, Batch]:
    generator = torch.Generator().manual_seed(seed)
    vectors, buffers = game.initial(generator)
    return vectors, buffers, {name: number.double() for name, number in game.draw(generator).items()}


def stacked(vectors: Vectors, game: Game) -> Array:
    return np.concatenate([vectors[name].numpy() for name in game.players])


def direction(field: Field, game: Game, seed: int = 0, memory: Tree | None = None) -> tuple[Array, Array, Tree]:
    """Return v and w of all players at the start, and the memory afterwards."""
    at = start(game, seed)
    memory = field.initial(game, *at[:2]) if memory is None else memory
    evaluation, memory = field(game, *at, memory, game.players)
    return stacked(vector_field(game, *at).field, game), stacked(evaluation.field, game), memory


def counted(monkeypatch: pytest.MonkeyPatch, play: Callable[[], object]) -> int:
    """Return the number of players' vectors whose gradients were computed."""
    with monkeypatch.context() as patched:
        counts = counted_gradients(patched)
        play()
    return sum(counts)
