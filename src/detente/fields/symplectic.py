"""Symplectic gradient adjustment."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from detente.autodiff import Evaluation, field_products
from detente.errors import require
from detente.fields.base import Field
from detente.game import Batch, Buffers, Game, Vectors
from detente.schedules.base import Schedule, number, require_at_least_zero
from detente.state import Tree


@dataclass(frozen=True)
class Symplectic(Field):
    """The gradient field corrected for its rotation: w = v + λ Aᵀv, with A = ½(J − Jᵀ), so Aᵀv = ½(Jᵀv − Jv).

    With `align`, λ has the sign of ⟨v, Jᵀv⟩⟨Aᵀv, Jᵀv⟩/n + ε, so that w points towards stable fixed points and away
    from unstable ones. n is the number of parameters of all players, as in Letcher's code. DeepMind's code divides by
    the number of parameter tensors, which a field does not have. n matters only near fixed points, where ε decides.

    Args:
        strength: λ, dimensionless, ≥ 0, or a schedule.
        align: whether λ takes the sign above; if False, λ is always positive.
        epsilon: ε, ≥ 0; a weak preference for λ > 0.

    Source: Balduzzi et al. 2018, The Mechanics of n-Player Differentiable Games (arXiv:1802.05642), Algorithm 1;
        Letcher et al. 2019, Differentiable Game Mechanics (arXiv:1905.04926), and the code of both for the sign.
    """

    strength: float | Schedule = 1.0
    align: bool = True
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        require_at_least_zero(self, "strength")
        require(self.epsilon >= 0, "epsilon", self.epsilon, "a number ≥ 0")

    def gradient_evaluations(self, moving: tuple[str, ...], players: tuple[str, ...]) -> int:
        """Return one gradient per player for each of v, Jᵀv and Jv, whichever players move."""
        return 3 * len(players)

    def __call__(
        self, game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, memory: Tree, players: tuple[str, ...]
    ) -> tuple[Evaluation, Tree]:
        """Return w(x)."""
        evaluation, backward, forward = field_products(game, vectors, buffers, batch)
        v = evaluation.field
        turn = {name: (backward[name] - forward[name]) / 2 for name in game.players}

        def inner(first: Vectors, second: Vectors) -> Tensor:
            return sum((first[name] @ second[name] for name in game.players), start=v[game.players[0]].new_zeros(()))

        strength = number("strength", self.strength)
        if self.align:
            n = sum(vector.numel() for vector in vectors.values())
            strength = strength * (inner(v, backward) * inner(turn, backward) / n + self.epsilon).sign()
        blocks = {name: v[name] + strength * turn[name] for name in players}
        return replace(evaluation, field=blocks, losses=evaluation.losses_of(players)), memory
