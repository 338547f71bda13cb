"""Gradients whose noise is cancelled by the same samples' gradients at a snapshot."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from detente.autodiff import Evaluation, vector_field
from detente.errors import require
from detente.fields.base import Field, coupling_between_samples, mean_field, part_count, require_finite
from detente.game import Batch, Buffers, Game, Vectors
from detente.state import State, Tree


@dataclass(frozen=True)
class VarianceReduced(Field):
    """Stochastic variance reduced gradient: d_i(x; b) = ∇_i L_i(x; b) − ∇_i L_i(x^S; b) + μ_i, μ_i = ∇_i L_i(x^S).

    x^S is everybody's snapshot and μ_i the gradient there over the whole set, so d is right on average and exact at
    the snapshot. In turns, a player sees the others' latest move in the first term and their snapshots in the second.
    It keeps one vector for each player, and one more for each whose gradient is reduced.

    The losses must be fixed means over a stored set. What is not (BatchNorm, dropout, penalties that draw, losses that
    change with the step) is refused, since the last two terms would then not cancel on average.

    Args:
        every: m, epochs from snapshot to snapshot, > 0; an epoch is as many steps as the set has batches.
        by_chance: instead, refresh in each step with probability 1/(m × steps of an epoch), as SVRE does.
        players: whose gradients are reduced; the others move along their plain gradient (default: everybody's).
        allow_noise: warn where losses are no fixed means, and go on with biased steps.

    Source: Chavdarova, Stich, Jaggi & Fleuret 2018, SVRG-GAN, Algorithm 3; Chavdarova et al. 2019, Reducing Noise in
        GAN Training with Variance Reduced Extragradient (arXiv:1904.08598), Algorithm 1, for refreshing by chance.
    """

    prepares: ClassVar[bool] = True

    every: float = 1.0
    by_chance: bool = False
    players: tuple[str, ...] | None = None
    allow_noise: bool = False

    def __post_init__(self) -> None:
        require(math.isfinite(self.every) and self.every > 0, "every", self.every, "a finite number > 0, of epochs")
        require(self.players is None or len(self.players) > 0, "players", self.players, "at least one player, or None")

    def check(self, game: Game) -> None:
        """Raise `InvalidValue` where the losses are no fixed means over a set, or a player does not play."""
        for name in self.players or ():
            require(name in game.players, "players", name, f"players among {', '.join(game.players)}")
        require_finite(game)
        reason = _noise(game)
        if reason and self.allow_noise:
            consequence = "the snapshot's gradients do not average to the mean kept there, so that steps are biased"
            warnings.warn(f"variance_reduced: {reason}: {consequence}", stacklevel=2)
            return
        allowed = "a game whose losses are fixed means over its samples"
        hint = f"Here {reason}. Go without it, or set allow_noise=True for biased steps"
        require(not reason, "game", type(game).__name__, allowed, hint)

    def initial(self, game: Game, vectors: Vectors, buffers: Buffers) -> Tree:
        """Return the start as snapshot; the means there are taken when the first step is prepared."""
        means = {name: torch.zeros_like(vectors[name]) for name in self._reduced(game.players)}
        return {"snapshot": _copies(vectors), "mean": means}

    def needs_preparation(self, game: Game, state: State, generator: torch.Generator) -> bool:
        """Return whether a snapshot is due: before the first step, and then after every so many or by chance."""
        period, t = self._period(game), int(state.t)
        if not self.by_chance:
            return t % period == 0
        by_chance = bool(torch.rand((), generator=generator, device=generator.device) < 1 / period)
        return by_chance or t == 0

    def prepare(self, game: Game, state: State) -> Tree:
        """Return a snapshot of where the state stands, and the mean gradients there."""
        reduced = self._reduced(game.players)
        mean = mean_field(game, state.vectors, state.buffers, state.t, reduced).field
        return {"snapshot": _copies(state.vectors), "mean": mean}

    def preparation(self, game: Game) -> float:
        """Return the cost of a look at the whole set, spread over the steps between two."""
        return len(self._reduced(game.players)) * part_count(game) / self._period(game)

    def gradient_evaluations(self, moving: tuple[str, ...], players: tuple[str, ...]) -> int:
        """Return one gradient for each who moves, and one at the snapshot where it is reduced."""
        return len(moving) + len(self._reduced(moving))

    def __call__(
        self, game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, memory: Tree, players: tuple[str, ...]
    ) -> tuple[Evaluation, Tree]:
        """Return d(x; b) for those reduced, ∇_i L_i(x; b) for the others."""
        at_point = vector_field(game, vectors, buffers, batch, players)
        reduced = self._reduced(players)
        if not reduced:
            return at_point, memory
        at_snapshot = vector_field(game, memory["snapshot"], buffers, batch, reduced)
        blocks = {name: at_point.field[name] - at_snapshot.field[name] + memory["mean"][name] for name in reduced}
        return replace(at_point, field={**at_point.field, **blocks}), memory

    def _reduced(self, players: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in players if self.players is None or name in self.players)

    def _period(self, game: Game) -> int:
        """Return the steps from snapshot to snapshot (by chance: on average)."""
        return max(1, round(self.every * part_count(game)))


def _copies(vectors: Vectors) -> dict[str, Tensor]:
    return {name: vector.clone() for name, vector in vectors.items()}


def _noise(game: Game) -> str:
    """Return why the gradients at a snapshot do not average to a fixed mean, in words; empty where they do."""
    if game.scheduled:
        return "the losses change with the step"
    if game.randomness:
        return f"there is {game.randomness}"
    mixing = coupling_between_samples(game)
    return mixing and f"there is something else: {mixing}"
