"""Consensus optimisation."""

from __future__ import annotations

from dataclasses import dataclass, replace

from detente.autodiff import Evaluation, vector_jacobian
from detente.fields.base import Field
from detente.game import Batch, Buffers, Game, Vectors
from detente.schedules.base import Schedule, number, require_at_least_zero
from detente.state import Tree


@dataclass(frozen=True)
class Consensus(Field):
    """The gradient field plus a pull towards stationary points: w(x) = v(x) + γ ∇ ½‖v(x)‖² = v(x) + γ J(x)ᵀ v(x).

    v and its Jacobian come from the same batch, as in the paper's code, so the estimate of ½‖v‖² has a bias of
    Var[v_1]/(2B) (Lemma 15). With γ = 0 this is the gradient field.

    Args:
        strength: γ, dimensionless, ≥ 0, or a schedule; the paper uses 10 for the mixture and 0.1 or 10 for images.

    Source: Mescheder, Nowozin & Geiger 2017, The Numerics of GANs, Algorithm 2 and eq. 12 (descent sign).
    """

    strength: float | Schedule = 10.0

    def __post_init__(self) -> None:
        require_at_least_zero(self, "strength")

    def gradient_evaluations(self, moving: tuple[str, ...], players: tuple[str, ...]) -> int:
        """Return one gradient per player for v, and one of ½‖v‖² per moving player."""
        return len(players) + len(moving)

    def __call__(
        self, game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, memory: Tree, players: tuple[str, ...]
    ) -> tuple[Evaluation, Tree]:
        """Return w(x)."""
        evaluation, pull = vector_jacobian(game, vectors, buffers, batch, columns=players, parts=True)
        blocks = {name: evaluation.field[name] + number("strength", self.strength) * pull[name] for name in players}
        return replace(evaluation, field=blocks), memory
