"""Everybody moves at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from detente.fields.base import Field
from detente.game import Batch
from detente.schemes.base import Play, Scheme, Turns, told
from detente.state import Info, State


@dataclass(frozen=True)
class Simultaneous(Scheme):
    """Every player moves from the same point on the same batch: x ← x − η v(x).

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, Algorithm 1 (descent sign).
    """

    forgets: ClassVar[bool] = True

    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        """Return one evaluation of the field."""
        return field.gradient_evaluations(players, players)

    def __call__(self, play: Play, state: State, batches: tuple[Batch, ...], noise: Turns) -> tuple[State, Info]:
        """Return the state after one simultaneous step."""
        evaluation, state = play.evaluate(state, batches[0])
        return play.advance(state, evaluation.field, noise[0]).after(), told(evaluation)
