"""A cure on trial: the changed game and method, its run, and how good its samples become."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detente.cures.base import Change
from detente.cures.lines import python_lines
from detente.game import Game
from detente.games.gan import gan_of
from detente.methods.method import Method
from detente.rescuing.judgement import SAMPLES, Judgement, judge, label_agreement
from detente.rescuing.observed_run import ObservedRun
from detente.signals.reference import Quality, Reference
from detente.state import State
from detente.training.step import Steps, draw

OBSERVATIONS = 20  # in a whole run
LATEST = 3  # observations that decide
WARM_UP, TIMED = 4, 16  # steps


class Trial:
    """A cure on trial.

    Args:
        name: the cure in words.
        change: what it changes.
        game: the changed game.
        method: the changed method.
        directory: directory of its run; one that was killed is continued.
        steps: steps of a whole run.
        seed: the random seed.
        reference: the user's real samples as the standard.
        described: the configuration of the run, as the command line resolves it; None in Python.
        command: the command line that trains the changed set-up; empty in Python.
    """

    def __init__(
        self,
        name: str,
        change: Change,
        game: Game,
        method: Method,
        directory: Path,
        steps: int,
        seed: int,
        reference: Reference,
        described: Mapping[str, Any] | None = None,
        command: str = "",
    ) -> None:
        self.name, self.change, self.game, self.method, self.whole = name, change, game, method, steps
        self._gan, self._reference = gan_of(game), reference
        self._judged: tuple[int, Judgement] | None = None
        every = max(1, steps // OBSERVATIONS)
        self.observed = ObservedRun(game, method, directory, steps, every, seed, self._observe, described)
        self.directory, self.command, self.outcome, self.step_cost = directory, command, "not started", 1.0

    @property
    def python(self) -> str:
        """Python lines that make the changed `game` and `method`."""
        return python_lines(self.change)

    def advance(self, steps: int) -> Iterator[int]:
        """Train up to a number of steps, and yield the step after each tick."""
        yield from self.observed.advance(steps)

    @property
    def steps(self) -> int:
        """Number of steps that are done."""
        return self.observed.steps

    @property
    def cost(self) -> float:
        """Cost so far, in steps of the user's own training."""
        return self.steps * self.step_cost

    @property
    def score(self) -> float:
        """How good the samples were in the last observations, at most about 1; −∞ if the run diverged."""
        if self.observed.diverged:
            return float("-inf")
        scores = [point["score"] for point in self.observed.points[-LATEST:] if "score" in point]
        return statistics.fmean(scores) if scores else float("-inf")

    @property
    def quality(self) -> Quality | None:
        """How near the last samples are to the real ones; None before the first observation."""
        points = [point["quality"] for point in self.observed.points if "quality" in point]
        return Quality(**points[-1]) if points else None

    @property
    def share(self) -> float:
        """How much of its whole run is done."""
        return self.steps / self.whole

    @property
    def judgement(self) -> Judgement:
        """Whether the samples of the last state count as a cure, from fresh ones."""
        if self._judged is not None and self._judged[0] == self.steps:
            return self._judged[1]
        state, generator = self.observed.final_state(), torch.Generator().manual_seed(2)
        samples = self._gan.samples(state.vectors, state.buffers, SAMPLES, generator)
        judgement = judge(self._gan, samples, self._reference)
        self._judged = self.steps, replace(judgement, labels=label_agreement(self._gan, state))
        return self._judged[1]

    @cached_property
    def state(self) -> State:
        """The last state, as metrics and samples see it."""
        return self.observed.final_state()

    def modules(self) -> Any:
        """Return the trained modules in evaluation mode, as `Stepper.modules`: (generator, discriminator) of a GAN.

        Those of `Networks` are a dictionary by player.
        """
        trained = self._gan.game.trained(self.state)
        if set(trained) == {"generator", "discriminator"}:
            return trained["generator"], trained["discriminator"]
        return trained

    def sample(self, count: int, seed: int = 0) -> Tensor:
        """Return generated samples, (count, …), from the generator in evaluation mode."""
        generator = torch.Generator().manual_seed(seed)
        return self._gan.samples(self.state.vectors, self.state.buffers, count, generator)

    def _observe(self, state: State, step: int) -> dict[str, Any]:
        del step
        generator = torch.Generator().manual_seed(1)
        quality = self._reference.quality(self._gan.samples(state.vectors, state.buffers, SAMPLES // 2, generator))
        return {"quality": vars(quality), "score": quality.score}


def seconds_per_step(game: Game, method: Method) -> float:
    """Return the processor time of a step on one thread (s), which other processes hardly change."""
    generator = torch.Generator().manual_seed(0)
    state, steps, seconds = method.initial(game, generator), Steps(game, method), []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(WARM_UP + TIMED):
            state = method.prepare(game, state, generator)
            drawn = draw(game, method, state, generator)
            start = time.process_time()
            (state,), _ = steps([state], [[drawn]])
            seconds.append(time.process_time() - start)
    finally:
        torch.set_num_threads(threads)
    return statistics.fmean(seconds[WARM_UP:])  # not the median, since some steps may cost more, as with `Lazy`
