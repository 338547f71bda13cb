"""A training run whose state is observed at regular intervals; one that was killed continues where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from detente.errors import InvalidValue
from detente.game import Game
from detente.methods.method import Method
from detente.state import State
from detente.training.loop import Tick
from detente.training.progress import Progress
from detente.training.run import Run
from detente.training.run_directory import checkpoint
from detente.training.run_directory.description import description
from detente.training.run_directory.record import train_into

RECORDS = 20  # of losses between two observations
PICTURES = 4  # measurements in a whole run, at which samples are saved
SAMPLES = 512  # in a measurement
FILE = "observations.json"

Observe = Callable[[State, int], dict[str, Any]]  # returns plain values for a state and a step


class ObservedRun:
    """A training run in a directory, one seed, with observations.

    Args:
        game: the game.
        method: its method.
        directory: run directory; a run in it is continued.
        total: steps of the whole run.
        every: steps between observations, ≥ 1.
        seed: the random seed.
        observe: returns what is observed, as values for JSON, from a state as metrics see it, and its step.
        described: the run's game and method as the command line resolves them, for run.yaml; None in Python.
    """

    def __init__(
        self,
        game: Game,
        method: Method,
        directory: Path,
        total: int,
        every: int,
        seed: int,
        observe: Observe,
        described: Mapping[str, Any] | None = None,
    ) -> None:
        self.run = Run(
            game,
            method,
            steps=total,
            seeds=(seed,),
            record_every=max(1, every // RECORDS),
            measure_every=max(1, total // PICTURES),
            checkpoint_every=every,
            samples=SAMPLES,
            compile="off",
            loggers=(),
        )
        self.directory, self.every, self._observe, self._described = directory, every, observe, described
        self.points: list[dict[str, Any]] = self._read()  # one dictionary with "step" for each observation
        self.progress: Progress | None = None

    @property
    def steps(self) -> int:
        """Number of steps that are done."""
        return self.points[-1]["step"] if self.points else 0

    @property
    def diverged(self) -> str:
        """Why the run ended before its last step, and when; empty if it did not."""
        last = self.points[-1] if self.points else {}
        return f"diverged at step {last['diverged_at']}: {last['cause']}" if "diverged_at" in last else ""

    def advance(self, steps: int) -> Iterator[int]:
        """Train up to a number of steps, and yield the step after each tick."""
        run, resume = self.run.until(steps=min(steps, self.run.steps)), (self.directory / "run.yaml").exists()
        if self.diverged or (self.points and self.steps >= run.steps):
            return
        losses: list[dict[str, float]] = []
        described = {**description(run), **(self._described or {})}
        for tick in train_into(run, self.directory, described, resume=resume, overwrite=not resume):
            losses += [{name: float(value) for name, value in info.losses.items()} for info in tick.infos.values()]
            (progress,) = tick.progress
            diverged = progress.diverged_at is not None
            if (
                tick.step // self.every > self.steps // self.every
                or not self.points
                or tick.step == run.steps
                or diverged
            ):
                self._add(tick, progress, losses)
                losses = []
            yield tick.step

    def final_state(self) -> State:
        """Return the last state, as metrics and samples see it."""
        if self.progress is None:
            (self.progress,) = checkpoint.load(self.directory / "checkpoints", self.run)
        return self.run.method.scheme.eval_state(self.progress.state)

    def _add(self, tick: Tick, progress: Progress, losses: list[dict[str, float]]) -> None:
        point: dict[str, Any] = {"step": tick.step, "losses": losses}
        if progress.diverged_at is not None:
            point |= {"diverged_at": progress.diverged_at, "cause": progress.cause}
        else:
            self.progress = replace(progress)
            point |= self._observe(self.run.method.scheme.eval_state(progress.state), tick.step)
        self.points.append(point)
        path = self.directory / FILE
        path.with_suffix(".tmp").write_text(json.dumps(self.points), encoding="utf-8")
        path.with_suffix(".tmp").replace(path)

    def _read(self) -> list[dict[str, Any]]:
        """Return the observations up to the last checkpoint."""
        try:
            points = json.loads((self.directory / FILE).read_text(encoding="utf-8"))
            steps = checkpoint.step_of(checkpoint.files(self.directory / "checkpoints")[-1])
        except (OSError, ValueError, IndexError, InvalidValue):
            return []
        return [point for point in points if point["step"] <= steps]
