"""Tasks and metrics for tests of executors: other processes import them from here."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detente.comparison.cells import Cell, same_run
from detente.games.quadratic import Bilinear
from detente.methods.gradients import alternating
from detente.metrics.base import Metric
from detente.training.run import Run
from detente.training.run_directory.description import description


def write(item: tuple[Path, str]) -> Iterator[None]:
    """Add a word to a file."""
    path, text = item
    yield
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def die(item: tuple[Path, int]) -> Iterator[None]:
    """Kill this process the first so many times; each call adds a letter to a file."""
    path, times = item
    yield
    with path.open("a", encoding="utf-8") as file:
        file.write("x")
    if len(path.read_text(encoding="utf-8")) <= times:
        os.kill(os.getpid(), signal.SIGKILL)


def fail(item: str) -> Iterator[None]:
    """Raise an error."""
    yield
    raise RuntimeError(f"two\nlines of {item}")


def wait_for_the_end(path: Path) -> Iterator[None]:
    """Wait until the task is stopped, and say that its work is saved; a second call ends immediately."""
    if path.exists():
        return
    try:
        path.with_suffix(".begun").touch()
        while True:
            time.sleep(0.01)
            yield
    finally:
        path.write_text("saved", encoding="utf-8")


@dataclass(frozen=True)
class DiesOnce(Metric):
    """Kills its process at step 20, unless there is a file, which it makes."""

    path: str
    better = "lower"

    def __call__(self, subject: Any) -> float:
        if int(subject.state.t) == 20 and not Path(self.path).exists():
            Path(self.path).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return float(subject.state.t)


@dataclass(frozen=True)
class Waits(Metric):
    """Waits at step 20 until there is a file."""

    path: str
    better = "lower"

    def __call__(self, subject: Any) -> float:
        while int(subject.state.t) == 20 and not Path(self.path).exists():
            time.sleep(0.01)
        return float(subject.state.t)


def run(learning_rate: float = 0.1, seeds: tuple[int, ...] = (0, 1), **changes: Any) -> Run:
    """Return a run of 40 steps with a checkpoint every 10."""
    intervals = {"record_every": 5, "measure_every": 10, "checkpoint_every": 10}
    settings = {"steps": 40, "compile": "off", "loggers": (), **intervals, **changes}
    return Run(Bilinear(3), alternating(learning_rate=learning_rate), seeds=seeds, **settings)


def cells(folder: Path, *runs: Run) -> list[Cell]:
    """Return a cell for each run."""
    from functools import partial

    return [
        Cell(f"cell{i}", folder / f"cell{i}", description(run), partial(same_run, run)) for i, run in enumerate(runs)
    ]
