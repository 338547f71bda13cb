"""The trials of a sweep of learning rates as a grid, on any executor."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from detente.comparison import sweep
from detente.comparison.cells import Cell
from detente.comparison.grid import GridState, carry_out_grid, require_success
from detente.comparison.tuning import describe_trials, read_recorded, recorded_trials, runs_by_rate
from detente.executors.base import Executor
from detente.report.comparison import TUNING
from detente.report.run_progress import metric_history, read_progress
from detente.training.run import Run
from detente.training.run_directory.directory import write_text

FOLDER = "tuning"  # in the comparison's folder: run directories of trials, until their results are recorded
DescribedRun = tuple[Run, dict[str, Any]]
CHANGED = ("steps", "seconds", "record_every", "measure_every", "checkpoint_every", "stop_when", "patience")


def trial_cells(
    runs: Mapping[str, DescribedRun],
    requested: Sequence[float],
    folder: Path,
    rebuild: Callable[[dict[str, Any]], Run],
    make: Callable[[Run, dict[str, Any]], Callable[[], Run]],
    fresh: bool = False,
) -> dict[tuple[str, float], Cell]:
    """Return a cell for each trial that is not recorded in `folder`/tuning.json, by run and learning rate.

    Args:
        runs: runs and their descriptions, by name.
        requested: learning rates to try; empty: multiples of each method's default.
        folder: the comparison's folder.
        rebuild: builds a run from its description.
        make: returns what makes a cell's run in any process.
        fresh: repeat recorded trials.
    """
    if fresh:
        shutil.rmtree(folder / FOLDER, ignore_errors=True)
        (folder / TUNING).unlink(missing_ok=True)
    recorded, cells = read_recorded(folder / TUNING), {}
    for label, (run, described) in runs.items():
        completed = recorded_trials(recorded.get(label, {}), describe_trials(run, described))
        for rate, (run_at_rate, content) in runs_by_rate(run, described, requested, rebuild).items():
            if any(math.isclose(trial.rate, rate, rel_tol=1e-5) for trial in completed):
                continue
            short = replace(sweep.trial_run(run_at_rate), loggers=())
            changed = {name: getattr(short, name) for name in CHANGED}
            content = {**content, **changed, "seeds": list(short.seeds), "metrics": [], "loggers": []}
            directory = (folder / FOLDER / label / f"{rate:g}").resolve()
            cells[label, rate] = Cell(f"{label} at {rate:g}", directory, content, make(short, content))
    return cells


def sweep_on(
    executor: Executor,
    cells: Mapping[tuple[str, float], Cell],
    runs: Mapping[str, DescribedRun],
    folder: Path,
) -> Iterator[GridState]:
    """Train the trials on an executor, yield the grid's states, and record the results in `folder`/tuning.json.

    They are the results of the same trials in this process; `tune_learning_rates` then reads and uses them.

    Raises:
        InvalidValue: a trial failed, or the executor cannot be used.
    """
    states: GridState = {}
    for state in carry_out_grid(list(cells.values()), executor, folder):
        states = state
        yield state
    require_success(states)
    recorded = read_recorded(folder / TUNING)
    for label, (run, described) in runs.items():
        description = describe_trials(run, described)
        new = [_trial(cell, run, rate) for (name, rate), cell in cells.items() if name == label]
        trials = sorted([*recorded_trials(recorded.get(label, {}), description), *new], key=lambda trial: trial.rate)
        recorded[label] = {
            "description": description,
            "trials": [asdict(trial) for trial in trials],
            "best": None,
            "remark": "",
        }
    write_text(folder / TUNING, json.dumps({"methods": recorded}, indent=1))
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _trial(cell: Cell, run: Run, rate: float) -> sweep.Trial:
    """Return the result of a trial from its run directory."""
    progress = read_progress(cell.directory)
    values = {}
    for name in sweep.metric_directions(run.game):
        history = metric_history(cell.directory, name)
        last = [history.get(seed, [(-1, 0.0)])[-1] for seed in cell.described["seeds"]]
        values[name] = [value if step == progress.step else None for step, value in last]
    return sweep.trial_of(rate, values, progress.diverged)
