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

from detente.checks.base import Finding
from detente.errors import require
from detente.game import Game, Vectors
from detente.games.gan import Gan
from detente.signals.reference import Quality, Reference
from detente.state import State

SAMPLES = 512  # generated, seen and held-out samples at each observation


@dataclass(frozen=True)
class Observation:
    """A GAN at one moment of a short run, with samples that all signals share. Looking at it changes nothing.

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
    def game(self) -> Game:
        """The game."""
        return self.gan.game

    def players(self) -> dict[str, str]:
        """Return the names of the two players by what they do: "generator" and "discriminator"."""
        return {"generator": self.gan.generator, "discriminator": self.gan.discriminator}

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


class Signal(ABC):
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
