"""Trainings inside an experiment: kept in run directories, taken up again where they stopped."""

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
    """A training that is over.

    Args:
        run: what was trained.
        directory: its run directory.
        states: each seed's last state.
        lines: the record, one mapping a line.
    """

    run: Run
    directory: Path
    states: dict[int, State]
    lines: tuple[dict[str, Any], ...]

    def curve(self, name: str, group: str = "metrics") -> tuple[np.ndarray, np.ndarray]:
        """Return the steps (k,) at which a number was written down, and its values (seeds, k); NaN where none was.

        Args:
            name: a metric, a player or what a method adds.
            group: "metrics", "losses", "gradient_norm" or "extra".
        """
        written = [line for line in self.lines if name in line.get(group, {})]
        steps = sorted({line["step"] for line in written})
        values = np.full((len(self.run.seeds), len(steps)), math.nan)
        for line in written:
            value = line[group][name]
            row, column = self.run.seeds.index(line["seed"]), steps.index(line["step"])
            values[row, column] = math.nan if value is None else value
        return np.array(steps), values

    def last(self, name: str) -> np.ndarray:
        """Return each seed's last measurement of a metric, (seeds,); NaN for seeds that diverged."""
        return self.curve(name)[1][:, -1]

    def samples(self, seed: int, step: int) -> dict[str, np.ndarray]:
        """Return the samples kept at a step: fake and real points, and the discriminator's level sets."""
        with np.load(self.directory / "samples" / f"seed{seed}-step{step:08d}.npz") as file:
            return {name: file[name] for name in file.files}


def train_or_resume(run: Run, directory: Path, track: Track) -> TrainingResult:
    """Return the run trained to its end in a directory, going on from what is there."""
    described = {"game": repr(run.game), "method": repr(run.method), "steps": run.steps, "seeds": list(run.seeds)}
    with Record(run, directory, described, resume=directory.exists()) as record:
        begun = max((one.step for one in record.start), default=0) if record.start else 0
        if begun < run.steps:
            # A tick stands for the steps since the one before it, so the bar counts ticks.
            ticks = record.follow(train(run, record.start))
            for _ in track(ticks, directory.name, total=math.ceil((run.steps - begun) / run.every("record")) + 1):
                pass
    states = {one.seed: one.state for one in checkpoint.load(directory / "checkpoints", run)}
    lines = (directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return TrainingResult(run, directory, states, tuple(json.loads(line) for line in lines))
