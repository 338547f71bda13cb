"""Trainings of an experiment, stored in run directories and resumed where they stopped."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detente.experiments.base import Track
from detente.state import State
from detente.training.loop import train
from detente.training.run import Run
from detente.training.run_directory import checkpoint
from detente.training.run_directory.record import Record


@dataclass(frozen=True)
class TrainingResult:
    """A finished training.

    Args:
        run: the run that was trained.
        directory: its run directory.
        states: the last state of each seed.
        records: the lines of metrics.jsonl.
    """

    run: Run
    directory: Path
    states: dict[int, State]
    records: tuple[dict[str, Any], ...]

    def curve(self, name: str, group: str = "metrics") -> tuple[np.ndarray, np.ndarray]:
        """Return the steps (k,) at which a number was recorded, and its values (seeds, k), NaN where it is missing.

        Args:
            name: a metric, a player, or an extra number of the method.
            group: "metrics", "losses", "gradient_norm" or "extra".
        """
        records = [record for record in self.records if name in record.get(group, {})]
        steps = sorted({record["step"] for record in records})
        values = np.full((len(self.run.seeds), len(steps)), math.nan)
        for record in records:
            value = record[group][name]
            row, column = self.run.seeds.index(record["seed"]), steps.index(record["step"])
            values[row, column] = math.nan if value is None else value
        return np.array(steps), values

    def last(self, name: str) -> np.ndarray:
        """Return the last measurement of a metric, (seeds,); NaN for seeds that diverged."""
        return self.curve(name)[1][:, -1]

    def samples(self, seed: int, step: int) -> dict[str, np.ndarray]:
        """Return the samples stored at a step: fake and real points, and the discriminator's level sets."""
        with np.load(self.directory / "samples" / f"seed{seed}-step{step:08d}.npz") as file:
            return {name: file[name] for name in file.files}


def train_or_resume(run: Run, directory: Path, track: Track) -> TrainingResult:
    """Train a run to its end in a directory, resuming from the last checkpoint there."""
    description = {"game": repr(run.game), "method": repr(run.method), "steps": run.steps, "seeds": list(run.seeds)}
    with Record(run, directory, description, resume=directory.exists()) as record:
        start_step = max((progress.step for progress in record.start), default=0) if record.start else 0
        if start_step < run.steps:
            # A tick stands for all steps since the previous one, so the bar counts ticks.
            ticks = record.follow(train(run, record.start))
            for _ in track(ticks, directory.name, total=math.ceil((run.steps - start_step) / run.every("record")) + 1):
                pass
    states = {progress.seed: progress.state for progress in checkpoint.load(directory / "checkpoints", run)}
    lines = (directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return TrainingResult(run, directory, states, tuple(json.loads(line) for line in lines))
