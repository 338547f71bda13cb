"""The base class of signals, what they look at, and the history that they leave."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detente.arguments import Typed
from detente.autodiff import Evaluation, player_gradient
from detente.checks.base import Finding
from detente.errors import require
from detente.game import Batch, Vectors
from detente.games.gan import Gan
from detente.games.networks import Networks
from detente.signals.reference import Quality, Reference
from detente.state import State

TREND = 2.0  # standard errors from which a slope counts
FAR = 0.1  # energy distance from which samples are far from the data; one mode instead of all gives 1
FROZEN = 0.04  # relative range of the distance in which the samples do not change
YOUNG, EARLY = 0.15, 0.35  # shares of the whole run up to which it is young, or early
NARROW = 0.25  # variance of the samples, relative to the data's, below which they are narrow
STILL = 0.01  # share of their size that weights move in a whole run, below which they stand still
LARGE = 300_000  # parameters from which a game is large
SAMPLES = 512  # generated, seen and held-out samples at each observation


@dataclass(frozen=True)
class Observation:
    """A GAN at one moment of a short run, with samples that all signals share. Its methods change nothing.

    Args:
        gan: its players.
        method: the training method.
        state: the state, as metrics and samples see it.
        before: parameters at the observation before, or None at the first.
        steps: steps since then.
        seen: real samples that the discriminator is trained with, (count, …).
        held_out: real samples that it is not trained with, (count, …), or None if there are none.
        reference: the real samples as a standard.
    """

    gan: Gan
    method: Any
    state: State
    before: Vectors | None
    steps: int
    seen: Tensor
    held_out: Tensor | None
    reference: Reference

    @property
    def game(self) -> Networks:
        """The game."""
        return self.gan.game

    def players(self) -> dict[str, str]:
        """Return the names of the two players by what they do: "generator" and "discriminator"."""
        return {"generator": self.gan.generator, "discriminator": self.gan.discriminator}

    @property
    def skipped(self) -> bool:
        """Whether costly measurements are left out: of large games, three of four observations have none."""
        large = sum(len(self.state.vectors[name]) for name in self.players().values()) > LARGE
        return large and self.steps > 0 and round(int(self.state.t) / self.steps) % 4 != 1

    @cached_property
    def samples(self) -> Tensor:
        """Samples of the generator in evaluation mode, always from the same latents."""
        generator = torch.Generator().manual_seed(1)
        return self.gan.samples(self.state.vectors, self.state.buffers, SAMPLES, generator)

    @cached_property
    def training_samples(self) -> Tensor:
        """Samples of the generator in training mode, from the same latents."""
        generator = torch.Generator().manual_seed(1)
        return self.gan.samples(self.state.vectors, self.state.buffers, SAMPLES, generator, training=True)

    def scores(self, samples: Tensor, training: bool = False) -> Tensor:
        """Return the discriminator's scores, (count,)."""
        return self.gan.scores(self.state.vectors, self.state.buffers, samples, training)

    @cached_property
    def quality(self) -> Quality:
        """How near the samples are to the real ones."""
        return self.reference.quality(self.samples)

    @cached_property
    def fake_scores(self) -> Tensor:
        """The scores of the samples, (count,) float64."""
        return self.scores(self.samples).double()

    @cached_property
    def seen_scores(self) -> Tensor:
        """The scores of the real samples that the discriminator is trained with, (count,) float64."""
        return self.scores(self.seen).double()

    @cached_property
    def held_out_scores(self) -> Tensor:
        """The scores of real samples that it is not trained with, or of seen ones if there are none, (count,)."""
        return self.seen_scores if self.held_out is None else self.scores(self.held_out).double()

    @cached_property
    def batch(self) -> Batch:
        """A batch as a step gets it, always the same one."""
        return self.game.with_step(self.game.draw(torch.Generator().manual_seed(11)), self.state.t)

    @cached_property
    def gradients(self) -> dict[str, Evaluation]:
        """Each player's loss and gradient on `batch`, by what the player does."""
        return {
            role: player_gradient(self.game, name, self.state.vectors, self.state.buffers, self.batch)
            for role, name in self.players().items()
        }


@dataclass
class History:
    """What a short run showed.

    Args:
        gan: the players.
        method: the training method.
        total: number of steps of the whole run, of which this one shows the beginning.
        steps: the step of each observation.
        values: each signal's values at the observations, by "signal.value".
        losses: each player's loss at every step.
        diverged_at: the step at which a number was not finite, or None.
        cause: what was not finite first.
    """

    gan: Gan
    method: Any
    total: int
    steps: list[int] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    losses: dict[str, list[float]] = field(default_factory=dict)
    diverged_at: int | None = None
    cause: str = ""

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a signal's values at the observations, (observations,); NaN where it has none."""
        return np.asarray(self.values.get(name, [math.nan] * len(self.steps)))

    def late(self, name: str, share: float = 0.5) -> np.ndarray:
        """Return a signal's values in the last part of the run."""
        values = self[name]
        return values[-max(1, round(share * len(values))) :]

    def loss(self, player: str, share: float = 0.5) -> np.ndarray:
        """Return a player's losses, "generator" or "discriminator", in the last part of the run."""
        name = getattr(self.gan, player)
        values = np.asarray(self.losses.get(name, []))
        return values[-max(1, round(share * len(values))) :]

    def quarters(self, name: str) -> tuple[float, float]:
        """Return the medians of a signal's values in the third and in the last quarter of the run; NaN without any."""
        half = self.late(name)
        parts = half[: len(half) // 2], half[len(half) // 2 :]
        third, last = (float(np.median(finite(part))) if len(finite(part)) else math.nan for part in parts)
        return third, last

    def expected(self, name: str) -> float:
        """Return what a value would be at the end of the whole run if it went on as in the second half of this one."""
        third, last = self.quarters(name)
        span = max(1.0, self.steps[-1] / 4) if self.steps else 1.0
        return last + (last - third) * max(0.0, (self.total - self.steps[-1]) / span) if self.steps else math.nan

    def trend(self, name: str) -> float:
        """Return the slope of a value in the second half, in units of its standard error; 0 without a trend."""
        values = self.late(name)
        times = np.asarray(self.steps[-len(values) :], dtype=float)
        times, values = times[np.isfinite(values)], values[np.isfinite(values)]
        if len(values) < 4 or np.ptp(values) == 0:
            return 0.0
        centred = times - times.mean()
        slope = float(centred @ values / (centred @ centred))
        residual = values - values.mean() - slope * centred
        error = math.sqrt(float(residual @ residual) / (len(values) - 2) / float(centred @ centred))
        return slope / max(error, 1e-12 * abs(slope))

    @property
    def reach(self) -> float | None:
        """How far the generator's weights would move in the whole run at their late pace, relative to their size."""
        moved = finite(self.late("update_ratio.generator_moved", 0.3))
        if len(moved) < 3 or len(self.steps) < 3:
            return None
        return float(moved.max() / np.median(np.diff(self.steps)) * self.total)

    @property
    def improving(self) -> bool:
        """Whether the samples still come nearer to the data, to a new best or in a steady trend that leads to one.

        A set-up that improves only needs longer, and is not called collapsed.
        """
        third, last = self.quarters("spread.distance")
        before = finite(self["spread.distance"])
        before = before[: -max(1, len(before) // 4)]
        nearest = before.min(initial=math.inf)
        best = last < 0.85 * third and last < 0.95 * nearest
        back = last < 0.5 * third and last < 2 * nearest  # who was much nearer before may go round
        steady = self.trend("spread.distance") < -TREND and last < 0.97 * third
        return best or back or (steady and self.expected("spread.distance") <= nearest)

    @property
    def unformed(self) -> bool:
        """Whether the samples have never spread and the run is young: they need longer, whatever they do now."""
        variance = finite(self["spread.variance"])
        return len(variance) > 0 and variance.max() < 0.3 and (self.young or self.searching)

    @property
    def growing(self) -> bool:
        """Whether the samples are still narrow, but get wider so steadily that they would reach the data's width."""
        variance = finite(self["spread.variance"])
        third, last = self.quarters("spread.log_variance")
        steady = self.trend("spread.log_variance") > TREND and last - third > 0.06  # by at least 15 %
        narrow = len(variance) > 0 and variance[-1] < NARROW
        return narrow and steady and self.expected("spread.log_variance") > math.log10(NARROW)

    @property
    def young(self) -> bool:
        """Whether this is so small a part of the whole run that samples which still change may become good.

        Samples that stand still, or that have run away from the data, are ill at any age.
        """
        distances, first = finite(self.late("spread.distance")), finite(self["spread.distance"])
        if len(distances) < 3 or not self.steps or self.steps[-1] >= YOUNG * self.total:
            return False
        usual = float(np.median(distances))
        return np.ptp(distances) >= FROZEN * usual and usual < 2 * max(1.0, first[0])

    @property
    def searching(self) -> bool:
        """Whether the samples have never spread, but the discriminator tells them apart in many pairs and not in all.

        Such a generator still looks for the data and often finds them late.
        """
        variance, areas = finite(self["spread.variance"]), finite(self.late("separation.held_out"))
        early = bool(self.steps) and self.steps[-1] < EARLY * self.total
        known = len(areas) > 0 and areas.min() > 0.6 and float(np.median(areas)) < 0.98
        return early and known and len(variance) > 0 and variance.max() < 0.3

    @property
    def far(self) -> bool:
        """Whether the samples are far from the data, at all late times; if they come near, the set-up is not ill."""
        values = finite(self.late("spread.distance", 0.25))
        nearest = finite(self.late("spread.distance")).min(initial=math.inf)
        return len(values) == 0 or (float(np.median(values)) > FAR and nearest > 0.6 * FAR)

    @property
    def stuck(self) -> bool:
        """Whether the samples are far from the data and do not come nearer, in a run that is not too young to tell."""
        return self.far and not self.improving and not self.young


def finite(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the finite ones of some values."""
    values = np.asarray(values, dtype=float)
    return values[np.isfinite(values)]


def measured(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite ones of some values by name, as numbers."""
    numbers = {name: float(value) for name, value in values.items()}
    return {name: number for name, number in numbers.items() if math.isfinite(number)}


def separation(first: Tensor, second: Tensor) -> float:
    """Return P(first > second) + ½ P(first = second), the area under the ROC curve, for two sets of scores."""
    difference = first[:, None] - second[None, :]
    return float((difference > 0).double().mean() + 0.5 * (difference == 0).double().mean())


class Signal(Typed, ABC):
    """Something that is measured during a short run, and what it is a sign of.

    A concrete signal is a frozen dataclass whose fields are its limits, numbers ≥ 0.
    """

    def __post_init__(self) -> None:
        for name, limit in vars(self).items():
            require(math.isfinite(limit) and limit >= 0, name, limit, "a finite number ≥ 0")

    @abstractmethod
    def __call__(self, observation: Observation) -> Mapping[str, float]:
        """Return the values at one moment, by name."""

    def findings(self, history: History) -> Sequence[Finding]:
        """Return what the run shows; it may use the values of other signals."""
        del history
        return ()
