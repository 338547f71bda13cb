"""The role of a field: which way does each player want to move?"""

from __future__ import annotations

from abc import ABC, abstractmethod

from detente.derivatives import Evaluation
from detente.game import Batch, Buffers, Game, Vectors
from detente.state import Tree


class Field(ABC):
    """A vector field on the joint parameters, built from the game's losses and their derivatives.

    A concrete field is a frozen dataclass whose fields are its hyper-parameters. Players move *against* the field:
    it is a descent direction's negative, as a gradient is.
    """

    def initial(self, game: Game, vectors: Vectors, buffers: Buffers) -> Tree:
        """Return what the field remembers between steps (nothing, unless it says otherwise)."""
        del game, vectors, buffers
        return {}

    @abstractmethod
    def gradient_evaluations(self, moving: tuple[str, ...], players: tuple[str, ...]) -> int:
        """Return what the blocks of those `moving` cost, in gradients of one player's loss on one batch.

        Args:
            moving: whose blocks are evaluated.
            players: everybody in the game.
        """

    @abstractmethod
    def __call__(
        self, game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, memory: Tree, players: tuple[str, ...]
    ) -> tuple[Evaluation, Tree]:
        """Return the field's blocks for `players` at a point, and the new memory. Pure."""
