"""All players move at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from detente.fields.base import Field
from detente.game import Batch
from detente.schemes.base import NoisePerBatch, Scheme, StepContext, step_info
from detente.state import Info, State


@dataclass(frozen=True)
class Simultaneous(Scheme):
    """All players move at once from the same point, on the same batch: x ← x − η v(x).

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, Algorithm 1 (descent sign).
    """

    allows_in_place: ClassVar[bool] = True

    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        """Return one evaluation of the field."""
        return field.gradient_evaluations(players, players)

    def __call__(
        self, context: StepContext, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch
    ) -> tuple[State, Info]:
        """Return the state after one simultaneous step."""
        evaluation, state = context.evaluate(state, batches[0])
        return context.advance(state, evaluation.field, noise[0]).after(), step_info(evaluation)
