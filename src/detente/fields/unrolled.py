"""Unrolled gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from detente.autodiff import Evaluation, unrolled_gradient, vector_field
from detente.errors import require
from detente.fields.base import Field
from detente.game import Batch, Buffers, Game, Vectors, require_two_players
from detente.ranks import of_parts, own_part, own_parts
from detente.schedules.base import Schedule, number, require_positive
from detente.state import Tree

Moments = dict[str, Tensor]


@dataclass(frozen=True)
class Unrolled(Field):
    """One player looks ahead: w_x = ∇_x L_x(x, y_K(x)), where y_k₊₁ = y_k − η ∇_y L_y(x, y_k); w_y = ∇_y L_y(x, y).

    The gradient passes through all K steps of the opponent, which use the same batch and buffers. With Adam's steps,
    y_k₊₁ = y_k − η m̂/(√ŝ + ε), the moments m and s start from the opponent's current moments. The field computes
    these from the gradients with which the opponent moves, so they equal those of an opponent trained by the same
    Adam. Where s = 0, √s is treated as constant, since it has no derivative. The reported loss of x is L_x(x, y_K).

    Args:
        steps: K, ≥ 1; the paper's mixture: 5 or 10.
        learning_rate: η of the opponent's steps, > 0, or a schedule.
        inner: the opponent's steps: "gradient" (plain) or "adam".
        betas: Adam's (β₁, β₂), each in [0, 1).
        epsilon: Adam's ε, > 0.
        player: x, the player that looks ahead. Default: the first player, in a GAN the generator.

    Source: Metz et al. 2017, Unrolled Generative Adversarial Networks (arXiv:1611.02163), section 2.2; the authors'
        code for Adam's steps.
    """

    divided: ClassVar[tuple[str, ...]] = ("mean", "square")

    steps: int = 5
    learning_rate: float | Schedule = 1e-4
    inner: Literal["gradient", "adam"] = "adam"
    betas: tuple[float, float] = (0.5, 0.999)
    epsilon: float = 1e-8
    player: str | None = None

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps", self.steps, "an integer ≥ 1")
        require_positive("learning_rate", self.learning_rate)
        require(self.inner in ("gradient", "adam"), "inner", self.inner, "'gradient' or 'adam'")
        require(all(0 <= beta < 1 for beta in self.betas), "betas", self.betas, "two numbers in [0, 1)")
        require(self.epsilon > 0, "epsilon", self.epsilon, "a number > 0")

    def check(self, game: Game) -> None:
        """Raise `InvalidValue` unless the game has two players and `player` is one of them."""
        require_two_players(game)
        valid = self.player is None or self.player in game.players
        require(valid, "player", self.player, f"one of {', '.join(game.players)}")

    def _roles(self, players: tuple[str, ...]) -> tuple[str, str]:
        """Return the player that looks ahead, and the opponent."""
        player = self.player or players[0]
        (opponent,) = (name for name in players if name != player)
        return player, opponent

    def initial(self, game: Game, vectors: Vectors, buffers: Buffers) -> Tree:
        """Return zero moments of the opponent, (n,), and the number of its moves, (); empty for plain steps."""
        if self.inner == "gradient":
            return {}
        vector = vectors[self._roles(game.players)[1]]
        count = torch.zeros((), dtype=torch.int64, device=vector.device)
        return {"count": count, "mean": torch.zeros_like(vector), "square": torch.zeros_like(vector)}

    def gradient_evaluations(self, moving: tuple[str, ...], players: tuple[str, ...]) -> int:
        """Return one gradient per step and one through all steps; the first step's gradient is also the opponent's."""
        return self.steps + 1 if self._roles(players)[0] in moving else 1

    def __call__(
        self, game: Game, vectors: Vectors, buffers: Buffers, batch: Batch, memory: Tree, players: tuple[str, ...]
    ) -> tuple[Evaluation, Tree]:
        """Return w."""
        player, opponent = self._roles(game.players)
        if player not in players:
            evaluation = vector_field(game, vectors, buffers, batch, players, parts=True)
            return evaluation, self._move(own_part(vectors[opponent]), evaluation.field[opponent], memory)[1]
        point, size = (vectors, buffers, batch), len(vectors[opponent])
        moments = {name: of_parts(memory[name], size) for name in self.divided if name in memory}
        evaluation, opponent_memory = unrolled_gradient(
            game, player, opponent, *point, self._move, memory | moments, self.steps, parts=True
        )
        like = dict.fromkeys(moments, vectors[opponent])
        opponent_memory |= own_parts({name: opponent_memory[name] for name in moments}, like)
        blocks = {name: evaluation.field[name] for name in players}
        evaluation = Evaluation(blocks, evaluation.losses_of(players), evaluation.buffers)
        return evaluation, opponent_memory if opponent in players else memory

    def _move(self, vector: Tensor, gradient: Tensor, memory: Moments) -> tuple[Tensor, Moments]:
        """Return the opponent's parameters and moments after one step."""
        if self.inner == "gradient":
            return vector - number("learning_rate", self.learning_rate) * gradient, memory
        first, second = self.betas
        count = memory["count"] + 1
        mean = torch.lerp(memory["mean"], gradient, 1 - first)
        square = torch.lerp(memory["square"], gradient * gradient, 1 - second)
        # Adam's corrections are in float64, as in the optimizer.
        correct_mean, correct_root = 1 - first ** count.double(), (1 - second ** count.double()).sqrt()
        smooth = square > 0
        root = torch.where(smooth, torch.where(smooth, square, 1).sqrt(), 0) / correct_root.to(vector.dtype)
        rate = (number("learning_rate", self.learning_rate) / correct_mean).to(vector.dtype)
        return vector - rate * mean / (root + self.epsilon), {"count": count, "mean": mean, "square": square}
