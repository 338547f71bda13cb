"""The role of a field: which way does each player want to move?"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch

from detente.derivatives import Evaluation
from detente.game import Batch, Buffers, Game, Vectors
from detente.state import State, Tree


class Field(ABC):
    """A vector field on the joint parameters, built from the game's losses and their derivatives.

    A concrete field is a frozen dataclass whose fields are its hyper-parameters. Players move *against* the field:
    it is a descent direction's negative, as a gradient is.

    `traceable` promises that the field may be compiled and mapped over seeds; `covariance_of` names the players for
    whom its memory keeps a covariance of per-sample gradients under "covariance", for optimizers that want one.
    """

    traceable: ClassVar[bool] = True
    prepares: ClassVar[bool] = False  # whether `prepare` has something to do

    @property
    def covariance_of(self) -> tuple[str, ...]:
        """Players whose covariance of per-sample gradients the memory keeps (nobody, unless the field says so)."""
        return ()

    def check(self, game: Game) -> None:
        """Raise `InvalidValue`, naming what does not fit, where the field is not defined on a game."""
        del game

    def initial(self, game: Game, vectors: Vectors, buffers: Buffers) -> Tree:
        """Return what the field remembers between steps (nothing, unless it says otherwise)."""
        del game, vectors, buffers
        return {}

    def prepare(self, game: Game, state: State, generator: torch.Generator) -> Tree:
        """Return the field's memory as it should be before the next step: where a field looks at the whole set now and
        then, it does so here, between steps.

        Args:
            game: the game.
            state: where it stands.
            generator: for a decision by chance.
        """
        del game, generator
        return state.memory["field"]

    def preparation(self, game: Game) -> float:
        """Return what `prepare` costs a step on average, in gradients of one player's loss on one batch."""
        del game
        return 0

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
