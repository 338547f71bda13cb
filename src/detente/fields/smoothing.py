"""The two smoothing variants of consensus optimisation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from detente.autodiff import Evaluation, vector_field, vector_jacobian
from detente.errors import require
from detente.fields.base import Field
from detente.game import Batch, Buffers, Game, Vectors
from detente.schedules.base import Schedule, number, require_at_least_zero
from detente.state import Tree


@dataclass(frozen=True)
class Smoothing(Field):
    """Consensus for one player only: w_D = v_D + γ ∇_D R, w_G = v_G.

    The paper and its code define R differently. With `definition="paper"`, the regulariser ½‖v‖² is dropped from the
    generator's loss and kept for the discriminator. With `definition="code"`, the regulariser is the norm of the
    generator's gradient alone, R = ½‖v_G‖².

    Args:
        strength: γ, dimensionless, ≥ 0, or a schedule.
        definition: "paper" (R = ½‖v‖²) or "code" (R = ½‖v_G‖²).
        player: the player to regularise; the others follow their plain gradient.

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, supplementary material, and the authors' code
        (consensus_gan/optimizer.py).
    """

    strength: float | Schedule = 10.0
    definition: Literal["paper", "code"] = "paper"
    player: str = "discriminator"

    def __post_init__(self) -> None:
        require_at_least_zero(self, "strength")
        require(self.definition in ("paper", "code"), "definition", self.definition, "'paper' or 'code'")

    def check(self, game: Game) -> None:
        """Raise `InvalidValue` unless `player` is a player of the game."""
        require(self.player in game.players, "player", self.player, f"one of {', '.join(game.players)}")

    def gradient_evaluations(self, moving: tuple[str, ...], players: tuple[str, ...]) -> int:
        """Return one gradient per player and one of R; with "code", R costs the other players' gradients again."""
        if self.player not in moving:
            return len(moving)
        return len(players) + (1 if self.definition == "paper" else len(moving))

    def __call__(
        self, game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, memory: Tree, players: tuple[str, ...]
    ) -> tuple[Evaluation, Tree]:
        """Return w(x)."""
        if self.player not in players:
            return vector_field(game, vectors, buffers, batch, players, parts=True), memory
        if self.definition == "paper":
            plain, pull = vector_jacobian(game, vectors, buffers, batch, columns=(self.player,), parts=True)
        else:
            others = tuple(name for name in game.players if name != self.player)
            plain = vector_field(game, vectors, buffers, batch, players, parts=True)
            _, pull = vector_jacobian(game, vectors, buffers, batch, players=others, columns=(self.player,), parts=True)
        blocks = {name: plain.field[name] for name in players}
        blocks[self.player] = blocks[self.player] + number("strength", self.strength) * pull[self.player]
        return replace(plain, field=blocks), memory
