"""The gradient vector field."""

from __future__ import annotations

from dataclasses import dataclass

from detente.autodiff import Evaluation, vector_field
from detente.fields.base import Field
from detente.game import Batch, Buffers, Game, Vectors
from detente.state import Tree


@dataclass(frozen=True)
class Gradient(Field):
    """The gradient of each player's own loss: v_i(x) = ∇_{x_i} L_i(x).

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, eq. 5 (descent sign).
    """

    def gradient_evaluations(self, moving: tuple[str, ...], players: tuple[str, ...]) -> int:
        """Return one gradient per moving player."""
        return len(moving)

    def __call__(
        self, game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, memory: Tree, players: tuple[str, ...]
    ) -> tuple[Evaluation, Tree]:
        """Return v(x)."""
        return vector_field(game, vectors, buffers, batch, players, parts=True), memory
