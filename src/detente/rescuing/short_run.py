"""The second stage: the beginning of the user's own training, observed by all signals."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from detente.checks.base import Finding
from detente.data.base import StoredData
from detente.game import Game
from detente.games.adversarial import Adversarial
from detente.games.gan import Gan, gan_of
from detente.methods.method import Method
from detente.registry import members
from detente.signals.base import SAMPLES, History, Observation, Signal
from detente.signals.reference import Reference
from detente.state import State
from detente.training.step import Steps, draw

OBSERVATIONS = 12
LARGEST = 20_000  # of sets of more samples, none are held out
REAL = 2048


class HeldIn(StoredData):
    """A stored set without some of its samples.

    Args:
        data: the whole set.
        kept: indices of the samples that stay, (count,).
    """

    def __init__(self, data: StoredData, kept: Tensor) -> None:
        self.data, self.kept = data, kept

    @property
    def arrays(self) -> tuple[Any, Tensor | None]:
        return self.data.arrays

    @property
    def size(self) -> int:
        return len(self.kept)

    def take(self, indices: Tensor) -> dict[str, Tensor]:
        """Return the samples at `indices` of the set that is left."""
        return self.data.take(self.kept[indices.cpu()])


def hold_out(game: Game) -> tuple[Game, Tensor | None]:
    """Return the game without a tenth of its samples, and these samples; None if none can be held out."""
    data = getattr(game, "data", None)
    stored = isinstance(game, Adversarial) and isinstance(data, StoredData) and not game.fixed_latents
    if not stored or not 20 <= data.size <= LARGEST:
        return game, None
    order = torch.randperm(data.size, generator=torch.Generator().manual_seed(0))
    count = min(SAMPLES, data.size // 10)
    if data.size - count < game.batch:
        return game, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        smaller = game.changed(data=HeldIn(data, order[count:]))
    return smaller, data.take(order[:count])["real"]


def reference_of(gan: Gan) -> Reference:
    """Return the game's real samples as the standard, always the same ones."""
    data, generator = getattr(gan.game, "data", None), torch.Generator().manual_seed(3)
    if isinstance(data, StoredData) and data.size <= REAL:
        return Reference(data.take(torch.randperm(data.size, generator=generator))["real"])
    return Reference(gan.real(REAL, generator))


def short_run(
    game: Game, method: Method, steps: int, total: int, seed: int = 0, observations: int = OBSERVATIONS
) -> Iterator[History]:
    """Train a GAN for some steps, and yield the history after each observation, always the same object.

    Args:
        game: the user's game.
        method: its method.
        steps: number of steps to take.
        total: number of steps of the user's whole run.
        seed: random seed.
        observations: number of observations, in addition to the one before the first step.
    """
    reference = reference_of(gan_of(game))
    game, held_out = hold_out(game)
    gan = gan_of(game)
    generator = torch.Generator().manual_seed(seed)
    state, runner = method.initial(game, generator), Steps(game, method)
    signals: Mapping[str, Signal] = {name: kind() for name, kind in members("signals").items()}
    history, before = History(gan, method, total, losses={name: [] for name in game.players}), None
    seen = gan.real(SAMPLES, torch.Generator().manual_seed(5))
    if held_out is None and not _stored(game):
        held_out = gan.real(SAMPLES, torch.Generator().manual_seed(7))  # new samples in every batch
    marks = sorted({round(steps * i / observations) for i in range(observations + 1)})
    for start, stop in zip([0, *marks], marks, strict=False):
        for step in range(start, stop):
            state = method.prepare(game, state, generator)
            (after,), (info,) = runner([state], [[draw(game, method, state, generator)]])
            for name in game.players:
                history.losses[name].append(float(info.losses[name][0]))
            if not bool(info.finite.all()):
                history.diverged_at = step + 1
                history.cause = _cause(game, method, seed, step + 1)
                break
            state = after
        observed: State = method.scheme.eval_state(state)
        observation = Observation(gan, method, observed, before, stop - start, seen, held_out, reference)
        _observe(signals, observation, history)
        history.steps.append(stop)
        before = observed.vectors
        yield history
        if history.diverged_at is not None:
            return


def _observe(signals: Mapping[str, Signal], observation: Observation, history: History) -> None:
    for name, signal in signals.items():
        try:
            values = signal(observation)
        except Exception:  # noqa: BLE001  # a signal that does not understand a network measures nothing
            values = {}
        for key, value in values.items():
            row = history.values.setdefault(f"{name}.{key}", [])
            row += [float("nan")] * (len(history.steps) - len(row)) + [float(value)]
    for row in history.values.values():
        row += [float("nan")] * (len(history.steps) + 1 - len(row))


def findings_of(history: History) -> list[Finding]:
    """Return what all signals find in a history, the most certain first."""
    found: list[Finding] = []
    for kind in members("signals").values():
        try:
            found += kind().findings(history)
        except Exception:  # noqa: BLE001, S112  # a signal that lacks values finds nothing
            continue
    return sorted(found, key=lambda finding: -finding.certainty)


def _stored(game: Game) -> bool:
    return isinstance(getattr(game, "data", None), StoredData)


def _cause(game: Game, method: Method, seed: int, steps: int) -> str:
    """Return what was not finite first, by the training loop's own search."""
    from detente.training.divergence import cause  # noqa: PLC0415
    from detente.training.loop import train  # noqa: PLC0415
    from detente.training.run import Run  # noqa: PLC0415

    run = Run(game, method, steps=steps, seeds=(seed,), measure_every=steps + 1, record_every=steps, compile="off")
    last = None
    for tick in train(replace(run, loggers=())):
        last = tick
    del cause
    return last.progress[0].cause if last is not None else ""
