"""Players move one after the other, and a player that is too far ahead waits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field

from detente.errors import require
from detente.fields.base import Field
from detente.game import Batch, Game
from detente.schedules.base import Schedule, value
from detente.schemes.base import NoisePerBatch, Scheme, StepContext, select, step_info, turn_order
from detente.state import Info, State


@dataclass(frozen=True)
class AdaptiveTurns(Scheme):
    """Alternating turns, in which a player moves only if its loss on the turn's batch is at least its threshold.

    x_i ← x_i − η v_i if L_i ≥ threshold_i, otherwise x_i and its optimizer's memory stay.

    A discriminator with the non-saturating or minimax objective has the loss 2 log 2 ≈ 1.39 where it cannot tell real
    from fake, and 0 where it is certain. With a threshold of 0.7 it waits while it is clearly ahead. The loss is that
    of the whole player, with penalties. The gradient is computed in any case, since it comes with the loss, and so are
    the modules' buffers. `Info.extra` holds `moved.<player>`, 1 or 0, for each player with a threshold.

    3D-GAN decides by the discriminator's accuracy in the last batch (at most 80 %), VAE/GAN by the losses of real and
    of fake samples (at least 0.33 each), and there a generator, too, waits while it is ahead.

    Args:
        thresholds: the least loss with which a player moves, by player, a finite number or a schedule; players that are
            not named always move.
        order: the players in the order in which they move. Default: the game's players in reverse.

    Raises:
        InvalidValue: a threshold is not finite, or belongs to no player of the game.

    Source: Wu et al. 2016, 3D-GAN (arXiv:1610.07584), section 3.2 (by accuracy); Larsen et al. 2016, Autoencoding
        beyond pixels (arXiv:1512.09300), code (by loss).
    """

    thresholds: Mapping[str, float | Schedule] = dataclass_field(default_factory=dict)
    order: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name, threshold in self.thresholds.items():
            accepted = isinstance(threshold, Schedule) or math.isfinite(threshold)
            require(accepted, f"thresholds.{name}", threshold, "a finite number, or a schedule")

    def check(self, game: Game, field: Field) -> None:
        """Raise `InvalidValue` unless all thresholds belong to players of the game."""
        del field
        players = game.players
        valid = set(self.thresholds) <= set(players)
        require(valid, "thresholds", dict(self.thresholds), f"players among {', '.join(players)}")

    def draws(self, players: tuple[str, ...]) -> int:
        """Return one batch per turn."""
        return len(turn_order(self.order, players))

    def gradient_evaluations(self, field: Field, players: tuple[str, ...]) -> int:
        """Return one block of the field per turn, also for players that wait."""
        return sum(field.gradient_evaluations((name,), players) for name in turn_order(self.order, players))

    def __call__(
        self, context: StepContext, state: State, batches: tuple[Batch, ...], noise: NoisePerBatch
    ) -> tuple[State, Info]:
        """Return the state after the turns of all players."""
        evaluations, moved = [], {}
        order = turn_order(self.order, context.game.players)
        for name, batch, noise_of_turn in zip(order, batches, noise, strict=True):
            evaluation, state = context.evaluate(state, batch, (name,))
            evaluations.append(evaluation)
            after = context.advance(state, {name: evaluation.field[name]}, noise_of_turn)
            if name in self.thresholds:
                loss = evaluation.losses[name]
                # A loss that is not finite moves, so that training fails visibly.
                moves = ~(loss < value(self.thresholds[name], state.t, loss.dtype))
                after = State(**select(moves, after.tree(), state.tree()))
                moved[f"moved.{name}"] = moves.to(loss.dtype)
            state = after
        info = step_info(*evaluations)
        return state.after(), replace(info, extra=info.extra | moved)
