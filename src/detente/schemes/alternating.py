"""One after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import ClassVar

from detente.errors import require
from detente.fields.base import Field
from detente.game import Batch
from detente.schemes.base import NoisePerBatch, Scheme, StepContext, step_info, turn_order
from detente.state import Info, State


@dataclass(frozen=True)
class Alternating(Scheme):
    """Players move in turn, each seeing the others' latest move, each turn on a batch of its own.

    Args:
        order: who moves first, second, …; default the game's players in reverse, so that in a GAN the discriminator
            comes first, as in everybody's code (the text of The Numerics of GANs has the generator first).
        turns: number of turns a step for the players named, ≥ 1; one for the others (WGAN: `{"discriminator": 5}`).

    Source: Goodfellow et al. 2014, Algorithm 1; Mescheder, Nowozin & Geiger 2017, Algorithm 3.
    """

    allows_in_place: ClassVar[bool] = True

    order: tuple[str, ...] | None = None
    turns: Mapping[str, int] = dataclass_field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, count in self.turns.items():
            require(count >= 1, f"turns.{name}", count, "an integer ≥ 1")

    def sequence(self, players: tuple[str, ...]) -> tuple[str, ...]:
        """Return whose turn it is, one name a turn."""
        order = turn_order(self.order, players)
        require(set(self.turns) <= set(players), "turns", dict(self.turns), f"players among {', '.join(players)}")
        return tuple(name for name in order for _ in range(self.turns.get(name, 1)))

    def draws(self, players: tuple[str, ...]) -> int:
        """Return one batch a turn."""
        return len(self.sequence(players))

    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        """Return one block of the field a turn."""
        return sum(field.gradient_evaluations((name,), players) for name in self.sequence(players))

    def __call__(
        self, context: StepContext, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch
    ) -> tuple[State, Info]:
        """Return the state after everybody's turns."""
        evaluations = []
        for name, batch, noise_of_turn in zip(self.sequence(context.game.players), batches, noise, strict=True):
            evaluation, state = context.evaluate(state, batch, (name,))
            state = context.advance(state, {name: evaluation.field[name]}, noise_of_turn)
            evaluations.append(evaluation)
        return state.after(), step_info(*evaluations)
