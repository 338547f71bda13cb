"""Train with another scheme, and measure an average of its iterates."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from detente.errors import require, unknown
from detente.fields.base import Field
from detente.game import Buffers, Game, Vectors
from detente.ranks import own_part
from detente.schedules.base import Schedule, require_fraction, value
from detente.schemes.wrapper import Wrapper
from detente.state import State, Tree

KINDS = ("exponential", "uniform")


@dataclass(frozen=True)
class Averaging(Wrapper):
    """An average of the iterates, for evaluation: x̄ ← x̄ + w (x − x̄), w = 1 − β (exponential) or 1/(n + 1) (uniform).

    Up to step `start` the average equals the iterate, so it has no bias towards zero; the n-th later step enters with
    weight w. Metrics and samples use the average; training does not. Floating-point buffers are averaged in the same
    way, so that BatchNorm's statistics match the averaged weights (many implementations omit this); other buffers are
    the latest.
    An average of unit vectors (as in spectral norm) is a unit vector only approximately, if they change slowly.

    With a half-life h, β = 2^(−1/h); with a ramp-up r, β = 2^(−1/min(h, r t)) in step t, so that early averages forget
    the first, poor iterates faster. StyleGAN2 and EDM count images: h steps are h · batch / 1000 kimg.

    Args:
        inner: the scheme to train with.
        kind: "exponential" or "uniform".
        decay: β, in [0, 1), or a schedule, for the exponential average.
        players: the players to average.
        start: the first step that enters the average, ≥ 0.
        half_life: h, in steps, > 0, instead of `decay`; StyleGAN2: 10 kimg, EDM: 500 kimg.
        ramp_up: r, > 0, the half-life as a share of the steps so far, 0.05 in StyleGAN2 and EDM; None for no ramp-up.

    Source: Polyak & Juditsky 1992 (uniform); Yazıcı et al. 2019, The Unusual Effectiveness of Averaging in GAN
        Training (arXiv:1806.04498), eq. 2-3; half-life and ramp-up: code of StyleGAN2-ADA
        (NVlabs/stylegan2-ada-pytorch, `training_loop.py`, `ema_kimg` and `ema_rampup`) and of EDM.
    """

    divided: ClassVar[tuple[str, ...]] = ("vectors",)

    kind: Literal["exponential", "uniform"] = "exponential"
    decay: float | Schedule = 0.999
    players: tuple[str, ...] = ("generator",)
    start: int = 0
    half_life: float | None = None
    ramp_up: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("kind", self.kind, KINDS)
        require_fraction("decay", self.decay)
        require(self.start >= 0, "start", self.start, "an integer ≥ 0")
        for field in ("half_life", "ramp_up"):
            setting = getattr(self, field)
            positive = setting is None or (math.isfinite(setting) and setting > 0)
            require(positive, field, setting, "a finite number > 0, or None")
        exponential = self.half_life is None or self.kind == "exponential"
        require(exponential, "half_life", self.half_life, "None, since the average is uniform")
        require(self.ramp_up is None or self.half_life is not None, "ramp_up", self.ramp_up, "None without a half_life")

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
        weight = 1 / (steps_since_start + 1) if self.kind == "uniform" else 1 - self._decay_after(state.t)
        weight = torch.where(steps_since_start == 0, 1.0, weight)

        def mean(average: Tensor, latest: Tensor) -> Tensor:
            if not latest.is_floating_point():
                return latest.clone()
            return torch.lerp(average, latest, weight.to(latest.dtype))

        return state, {
            "vectors": {
                name: mean(average, own_part(state.vectors[name])) for name, average in memory["vectors"].items()
            },
            "buffers": {
                name: {key: mean(average, state.buffers[name][key]) for key, average in averages.items()}
                for name, averages in memory["buffers"].items()
            },
        }

    def _decay_after(self, t: Tensor) -> Tensor:
        """Return β of the last step, float64 (); t, int64 (), is the number of steps so far."""
        step = t - 1
        if self.half_life is None:
            decay = value(self.decay, step, torch.float64)
            return torch.as_tensor(decay, dtype=torch.float64, device=t.device)
        half_life = torch.full_like(step, self.half_life, dtype=torch.float64)
        if self.ramp_up is not None:
            half_life = torch.minimum(half_life, self.ramp_up * step.double())
        return torch.exp2(-1 / half_life)  # 0 for the half-life 0 of the first step

    def eval_state(self, state: State) -> State:
        """Return the state with the averages of the averaged players."""
        averages, inner_state = state.memory["scheme"], super().eval_state(state)
        buffers = {name: averages["buffers"].get(name, current) for name, current in inner_state.buffers.items()}
        return replace(inner_state, vectors={**inner_state.vectors, **averages["vectors"]}, buffers=buffers)
