"""The gradient vector field of the whole dataset."""

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

    The field averages the gradients of all batches of the dataset and ignores the batch that the step draws. A move
    costs as many gradients as the dataset has batches.

    Source: Chavdarova, Stich, Jaggi & Fleuret 2018, SVRG-GAN, section 5.2 (GD-GAN).
    """

    traceable: ClassVar[bool] = False  # it reads batches that are not inputs of the step

    def check(self, game: Game) -> None:
        """Raise `InvalidValue` unless the game has a finite dataset."""
        require_finite(game)

    def batches(self, game: Game) -> int:
        """Return the number of batches of the whole dataset."""
        return part_count(game)

    def gradient_evaluations(self, moving: tuple[str, ...], players: tuple[str, ...]) -> int:
        """Return one gradient per moving player, for each of the `batches`."""
        return len(moving)

    def __call__(
        self, game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, memory: Tree, players: tuple[str, ...]
    ) -> tuple[Evaluation, Tree]:
        """Return v(x)."""
        t = batch.get("t", torch.zeros((), dtype=torch.int64, device=vectors[players[0]].device))
        return mean_field(game, vectors, buffers, t, players), memory
