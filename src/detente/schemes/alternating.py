"""Players move one after the other."""

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
    """Players move in turn, each with the others' latest parameters, and each turn uses its own batch.

    Args:
        order: the players in the order in which they move. Default: the game's players in reverse, so that in a GAN the
            discriminator moves first, as in published code (in the text of The Numerics of GANs, the generator does).
        turns: number of turns per step, ≥ 1, by player; default 1 (WGAN: `{"discriminator": 5}`).

    Source: Goodfellow et al. 2014, Algorithm 1; Mescheder, Nowozin & Geiger 2017, Algorithm 3.
    """

    allows_in_place: ClassVar[bool] = True

    order: tuple[str, ...] | None = None
    turns: Mapping[str, int] = dataclass_field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, count in self.turns.items():
            require(count >= 1, f"turns.{name}", count, "an integer ≥ 1")

    def sequence(self, players: tuple[str, ...]) -> tuple[str, ...]:
        """Return the player of each turn."""
        order = turn_order(self.order, players)
        if not self.turns:
            return order
        require(set(self.turns) <= set(players), "turns", dict(self.turns), f"players among {', '.join(players)}")
        return tuple(name for name in order for _ in range(self.turns.get(name, 1)))

    def draws(self, players: tuple[str, ...]) -> int:
        """Return one batch per turn."""
        return len(self.sequence(players))

    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        """Return one block of the field per turn."""
        return sum(field.gradient_evaluations((name,), players) for name in self.sequence(players))

    def __call__(
        self, context: StepContext, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch
    ) -> tuple[State, Info]:
        """Return the state after the turns of all players."""
        evaluations, sequence, cache = [], self.sequence(context.game.players), None
        if len(batches) > 1 and _same(batches) and not any(state.buffers.values()):
            # As `Stepper.step(batch)` gives it: what players that have not moved yet return is the same in all turns.
            context, cache = context.sharing(sequence)
        for turn, (name, batch, noise_of_turn) in enumerate(zip(sequence, batches, noise, strict=True)):
            evaluation, state = context.evaluate(state, batch, (name,))
            if cache and name not in sequence[:turn]:
                cache.moved(name, state.vectors[name])
            state = context.advance(state, {name: evaluation.field[name]}, noise_of_turn)
            evaluations.append(evaluation)
        if cache and not cache.hits:  # a graph for later turns that none of them uses takes time and memory
            context.game.evaluation_memo["repeats calls in a step"] = False
        return state.after(), step_info(*evaluations)


def _same(batches: tuple[Batch, ...]) -> bool:
    """Whether all batches have the same tensors, and at least one."""
    first = batches[0]
    return len(first) > 0 and all(
        len(batch) == len(first) and all(batch.get(name) is tensor for name, tensor in first.items())
        for batch in batches[1:]
    )
