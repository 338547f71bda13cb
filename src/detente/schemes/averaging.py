"""Train with another scheme, and measure an average of its iterates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from detente.errors import require, unknown
from detente.fields.base import Field
from detente.game import Buffers, Game, Vectors
from detente.schedules.base import Schedule, require_fraction, value
from detente.schemes.wrapper import Wrapper
from detente.state import State, Tree

KINDS = ("exponential", "uniform")


@dataclass(frozen=True)
class Averaging(Wrapper):
    """An average of the iterates, for evaluation: x̄ ← x̄ + w (x − x̄), w = 1 − β (exponential) or 1/(n + 1) (uniform).

    Up to step `start` the average equals the iterate, so it has no bias towards zero; the n-th later step enters with
    weight w. Metrics and samples use the average; training does not. Floating-point buffers are averaged in the same
    way, so that BatchNorm's statistics match the averaged weights (many codes omit this); other buffers are the latest.
    An average of unit vectors (as in spectral norm) is a unit vector only approximately, if they change slowly.

    Args:
        inner: the scheme to train with.
        kind: "exponential" or "uniform".
        decay: β, in [0, 1), or a schedule, for the exponential average.
        players: the players to average.
        start: the first step that enters the average, ≥ 0.

    Source: Polyak & Juditsky 1992 (uniform); Yazıcı et al. 2019, The Unusual Effectiveness of Averaging in GAN
        Training (arXiv:1806.04498), eq. 2-3.
    """

    kind: Literal["exponential", "uniform"] = "exponential"
    decay: float | Schedule = 0.999
    players: tuple[str, ...] = ("generator",)
    start: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("kind", self.kind, KINDS)
        require_fraction("decay", self.decay)
        require(self.start >= 0, "start", self.start, "an integer ≥ 0")

    def check(self, game: Game, field: Field) -> None:
        """Raise `InvalidValue` unless all `players` are players of the game."""
        valid = len(self.players) > 0 and set(self.players) <= set(game.players)
        require(valid, "players", self.players, f"one or more of {', '.join(game.players)}")
        super().check(game, field)

    def initial_memory(self, vectors: Vectors, buffers: Buffers) -> Tree:
        """Return the initial point as the first average."""
        return {
            "vectors": {name: vectors[name].clone() for name in self.players},
            "buffers": {
                name: {key: buffer.clone() for key, buffer in buffers.get(name, {}).items()} for name in self.players
            },
        }

    def afterwards(self, state: State, memory: Tree) -> tuple[State, Tree]:
        """Return the state unchanged, and the updated averages."""
        steps_since_start = (state.t - self.start).clamp(min=0).double()
        uniform = self.kind == "uniform"
        decay = value(self.decay, state.t - 1, torch.float64)  # of the step that was just taken
        weight = 1 / (steps_since_start + 1) if uniform else torch.ones_like(steps_since_start) * (1 - decay)
        weight = torch.where(steps_since_start == 0, 1.0, weight)

        def mean(average: Tensor, latest: Tensor) -> Tensor:
            if not latest.is_floating_point():
                return latest.clone()
            return torch.lerp(average, latest, weight.to(latest.dtype))

        return state, {
            "vectors": {name: mean(average, state.vectors[name]) for name, average in memory["vectors"].items()},
            "buffers": {
                name: {key: mean(average, state.buffers[name][key]) for key, average in averages.items()}
                for name, averages in memory["buffers"].items()
            },
        }

    def eval_state(self, state: State) -> State:
        """Return the state with the averages of the averaged players."""
        averages, inner_state = state.memory["scheme"], super().eval_state(state)
        buffers = {name: averages["buffers"].get(name, current) for name, current in inner_state.buffers.items()}
        return replace(inner_state, vectors={**inner_state.vectors, **averages["vectors"]}, buffers=buffers)
