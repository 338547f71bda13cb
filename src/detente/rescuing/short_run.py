"""The second stage: the beginning of the user's own training, observed by all signals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detente.checks.base import Finding
from detente.checks.switch import off
from detente.data.base import StoredData
from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.games.gan import Gan, gan_of
from detente.methods.method import Method
from detente.registry import members
from detente.rescuing.observed_run import ObservedRun
from detente.signals.base import SAMPLES, History, Observation, Signal
from detente.signals.reference import Reference
from detente.state import State

OBSERVATIONS = 12
LARGEST = 20_000  # of sets of more samples, none are held out
REAL = 2048


class HeldIn(StoredData):
    """A stored set without some of its samples.

    Args:
        data: the whole set.
        indices: indices of the samples that stay, (count,).
    """

    def __init__(self, data: StoredData, indices: Tensor) -> None:
        self.data, self.indices = data, indices

    @property
    def arrays(self) -> tuple[Any, Tensor | None]:
        return self.data.arrays

    @property
    def size(self) -> int:
        return len(self.indices)

    def take(self, indices: Tensor) -> dict[str, Tensor]:
        """Return the samples at `indices` of the set that is left."""
        return self.data.take(self.indices[indices.cpu()])


def hold_out(game: Game) -> tuple[Game, Tensor | None]:
    """Return the game without a tenth of its samples, and these samples; None if none can be held out."""
    data = getattr(game, "data", None)
    if not isinstance(game, Adversarial) or not isinstance(data, StoredData) or game.fixed_latents:
        return game, None
    if not 20 <= data.size <= LARGEST:
        return game, None
    order = torch.randperm(data.size, generator=torch.Generator().manual_seed(0))
    count = min(SAMPLES, data.size // 10)
    if data.size - count < game.batch:
        return game, None
    with off():
        smaller = game.changed(data=HeldIn(data, order[count:]))
    return smaller, data.take(order[:count])["real"]


def reference_of(gan: Gan) -> Reference:
    """Return the game's real samples as the standard, always the same ones."""
    data, generator = getattr(gan.game, "data", None), torch.Generator().manual_seed(3)
    if isinstance(data, StoredData) and data.size <= REAL:
        return Reference(gan.real_of(data.take(torch.randperm(data.size, generator=generator))))
    return Reference(gan.real(REAL, generator))


class ShortRun:
    """The beginning of a training, and what all signals measure in it.

    Args:
        game: the user's game.
        method: its method.
        directory: directory for the run; one that was killed is continued.
        steps: number of steps to take.
        total: number of steps of the user's whole run.
        seed: the random seed.
        observations: number of observations, in addition to the one before the first step.
    """

    def __init__(
        self,
        game: Game,
        method: Method,
        directory: Path,
        steps: int,
        total: int,
        seed: int = 0,
        observations: int = OBSERVATIONS,
    ) -> None:
        self.reference, self.total = reference_of(gan_of(game)), total
        game, self._held_out = hold_out(game)
        self.gan, self.method = gan_of(game), method
        self._signals: Mapping[str, Signal] = {name: kind() for name, kind in members("signals").items()}
        self._real = self.gan.real(SAMPLES, torch.Generator().manual_seed(5))
        if self._held_out is None and not isinstance(getattr(game, "data", None), StoredData):
            self._held_out = self.gan.real(SAMPLES, torch.Generator().manual_seed(7))  # new in every batch
        self._before: State | None = None
        every = max(1, steps // observations)
        self.observed = ObservedRun(game, method, directory, steps, every, seed, self._observe)

    def __iter__(self) -> Iterator[int]:
        """Train, and yield the step after each tick."""
        yield from self.observed.advance(self.observed.run.steps)

    @property
    def history(self) -> History:
        """What the run has shown so far."""
        points = self.observed.points
        history = History(self.gan, self.method, self.total, losses={name: [] for name in self.gan.game.players})
        for point in points:
            for losses in point["losses"]:
                for name, value in losses.items():
                    history.losses[name].append(value)
            if "diverged_at" in point:
                history.diverged_at, history.cause = point["diverged_at"], point["cause"]
        observed_points = [point for point in points if "signals" in point]
        history.steps = [point["step"] for point in observed_points]
        names = dict.fromkeys(name for point in observed_points for name in point["signals"])
        history.values = {name: [point["signals"].get(name, math.nan) for point in observed_points] for name in names}
        return history

    def _observe(self, state: State, step: int) -> dict[str, Any]:
        before = self._before
        steps = step - int(before.t) if before is not None else 0
        observation = Observation(
            self.gan, self.method, state, before and before.vectors, steps, self._real, self._held_out, self.reference
        )
        self._before = state
        values = {}
        for name, signal in self._signals.items():
            try:
                values |= {f"{name}.{key}": float(value) for key, value in signal(observation).items()}
            except Exception:  # noqa: BLE001, S112  # a signal that does not understand a network measures nothing
                continue
        return {"signals": values, **quality_values(observation)}


def quality_values(observation: Observation) -> dict[str, Any]:
    """Return the quality of the samples as values for JSON."""
    quality = observation.quality
    return {"quality": vars(quality), "score": quality.score}


def findings_of(history: History) -> list[Finding]:
    """Return what all signals find in a history, the most certain first."""
    findings: list[Finding] = []
    for kind in members("signals").values():
        try:
            findings += kind().findings(history)
        except Exception:  # noqa: BLE001, S112  # a signal that lacks values finds nothing
            continue
    return sorted(findings, key=lambda finding: -finding.certainty)


def short_run(game: Game, method: Method, directory: Path, steps: int, total: int, seed: int = 0) -> History:
    """Return the history of the first steps of a training; see `ShortRun`."""
    run = ShortRun(game, method, directory, steps, total, seed)
    for _ in run:
        pass
    return run.history
