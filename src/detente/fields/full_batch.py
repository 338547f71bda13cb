"""The gradient vector field of the whole set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from detente.autodiff import Evaluation
from detente.fields.base import Field, mean_field, part_count, require_finite
from detente.game import Batch, Buffers, Game, Vectors
from detente.state import Tree


@dataclass(frozen=True)
class FullBatch(Field):
    """Each player's gradient over all terms of a finite sum, v_i(x) = (1/N) Σₙ ∇_i L_i(x; n): no noise, at full cost.

    The set is gone through in batches of the game's size, whose gradients are averaged; of the batch that a step
    draws, nothing is used. It costs as many gradients a move as the set has batches.

    Source: Chavdarova, Stich, Jaggi & Fleuret 2018, SVRG-GAN, section 5.2 (GD-GAN).
    """

    traceable: ClassVar[bool] = False  # its batches come from outside the step

    def check(self, game: Game) -> None:
        """Raise `InvalidValue` where there is no whole set."""
        require_finite(game)

    def batches(self, game: Game) -> int:
        """Return how many batches the whole set has."""
        return part_count(game)

    def gradient_evaluations(self, moving: tuple[str, ...], players: tuple[str, ...]) -> int:
        """Return one gradient for each who moves, on each of `batches`."""
        return len(moving)

    def __call__(
        self, game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, memory: Tree, players: tuple[str, ...]
    ) -> tuple[Evaluation, Tree]:
        """Return v(x)."""
        t = batch.get("t", torch.zeros((), dtype=torch.int64, device=vectors[players[0]].device))
        return mean_field(game, vectors, buffers, t, players), memory
