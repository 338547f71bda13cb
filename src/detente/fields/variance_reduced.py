"""Variance-reduced gradients: the same samples' gradients at a snapshot cancel most of the noise."""

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
from detente.ranks import all_of_parts, own_part
from detente.state import State, Tree


@dataclass(frozen=True)
class VarianceReduced(Field):
    """Stochastic variance reduced gradient: d_i(x; b) = ∇_i L_i(x; b) − ∇_i L_i(x^S; b) + μ_i, μ_i = ∇_i L_i(x^S).

    x^S is a snapshot of all players and μ_i the gradient there over the whole dataset, so d is unbiased, and exact at
    the snapshot. When players move in turn, the first term uses the other players' latest moves and the second their
    snapshots. The memory holds one vector per player, and another for each player in `players`.

    The losses must be fixed means over a stored dataset. Losses that are not (BatchNorm, dropout, penalties that draw
    random numbers, losses that change with the step) raise an error, since the last two terms would not cancel on
    average.

    Args:
        every: m, epochs between snapshots, > 0; an epoch has as many steps as the dataset has batches.
        by_chance: take a snapshot in each step with probability 1/(m × steps of an epoch) instead, as SVRE does.
        players: the players whose gradients are reduced; the others use their plain gradient. Default: all.
        allow_noise: if the losses are not fixed means, warn and use biased steps instead of raising an error.

    Source: Chavdarova, Stich, Jaggi & Fleuret 2018, SVRG-GAN, Algorithm 3; Chavdarova et al. 2019, Reducing Noise in
        GAN Training with Variance Reduced Extragradient (arXiv:1904.08598), Algorithm 1, for random snapshots.
    """

    prepares: ClassVar[bool] = True
    divided: ClassVar[tuple[str, ...]] = ("snapshot", "mean")

    every: float = 1.0
    by_chance: bool = False
    players: tuple[str, ...] | None = None
    allow_noise: bool = False

    def __post_init__(self) -> None:
        require(math.isfinite(self.every) and self.every > 0, "every", self.every, "a finite number > 0, of epochs")
        require(self.players is None or len(self.players) > 0, "players", self.players, "at least one player, or None")

    def check(self, game: Game) -> None:
        """Raise `InvalidValue` if the losses are not fixed means over a dataset, or the game lacks a player."""
        for name in self.players or ():
            require(name in game.players, "players", name, f"players among {', '.join(game.players)}")
        require_finite(game)
        reason = _noise(game)
        if reason and self.allow_noise:
            consequence = "the snapshot's gradients do not average to their stored mean, so the steps are biased"
            warnings.warn(f"variance_reduced: {reason}: {consequence}", stacklevel=2)
            return
        allowed = "a game whose losses are fixed means over its samples"
        hint = f"Here {reason}. Remove it, or set allow_noise=True to accept biased steps"
        require(not reason, "game", type(game).__name__, allowed, hint)

    def initial(self, game: Game, vectors: Vectors, buffers: Buffers) -> Tree:
        """Return the initial point as the snapshot; `prepare` computes its means before the first step."""
        means = {name: torch.zeros_like(vectors[name]) for name in self._reduced(game.players)}
        return {"snapshot": _copies(vectors), "mean": means}

    def needs_preparation(self, game: Game, state: State, generator: torch.Generator) -> bool:
        """Return whether to take a snapshot: before the first step, then at fixed intervals or at random."""
        period, t = self._period(game), int(state.t)
        if not self.by_chance:
            return t % period == 0
        by_chance = bool(torch.rand((), generator=generator, device=generator.device) < 1 / period)
        return by_chance or t == 0

    def prepare(self, game: Game, state: State) -> Tree:
        """Return a snapshot of the current point, and the mean gradients there."""
        reduced = self._reduced(game.players)
        mean = mean_field(game, state.vectors, state.buffers, state.t, reduced).field
        return {"snapshot": _copies({name: own_part(vector) for name, vector in state.vectors.items()}), "mean": mean}

    def preparation(self, game: Game) -> float:
        """Return the cost of a pass over the dataset, spread over the steps between two snapshots."""
        return len(self._reduced(game.players)) * part_count(game) / self._period(game)

    def gradient_evaluations(self, moving: tuple[str, ...], players: tuple[str, ...]) -> int:
        """Return one gradient per moving player, and one at the snapshot for each with reduced gradients."""
        return len(moving) + len(self._reduced(moving))

    def __call__(
        self, game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, memory: Tree, players: tuple[str, ...]
    ) -> tuple[Evaluation, Tree]:
        """Return d(x; b) for players with reduced gradients, ∇_i L_i(x; b) for the others."""
        at_point = vector_field(game, vectors, buffers, batch, players, parts=True)
        reduced = self._reduced(players)
        if not reduced:
            return at_point, memory
        snapshot = all_of_parts(memory["snapshot"], vectors)
        at_snapshot = vector_field(game, snapshot, buffers, batch, reduced, parts=True)
        blocks = {name: at_point.field[name] - at_snapshot.field[name] + memory["mean"][name] for name in reduced}
        return replace(at_point, field={**at_point.field, **blocks}), memory

    def _reduced(self, players: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in players if self.players is None or name in self.players)

    def _period(self, game: Game) -> int:
        """Return the number of steps between snapshots (on average if `by_chance`)."""
        return max(1, round(self.every * part_count(game)))


def _copies(vectors: Vectors) -> dict[str, Tensor]:
    return {name: vector.clone() for name, vector in vectors.items()}


def _noise(game: Game) -> str:
    """Describe why the gradients at a snapshot do not average to a fixed mean; empty if they do."""
    if game.scheduled:
        return "the losses change with the step"
    if game.randomness:
        return f"there is {game.randomness}"
    mixing = coupling_between_samples(game)
    return mixing and f"the losses are not means over samples: {mixing}"
