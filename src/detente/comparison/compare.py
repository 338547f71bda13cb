"""Compare methods from Python: train each on one game with the same seeds, and write a report page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from detente.comparison.budget import Budget
from detente.comparison.cells import Cell, same_run
from detente.comparison.config import SEEDS, ComparisonConfig, baseline_label, run_label
from detente.comparison.grid import GridState, carry_out_grid, last_state, named_executor, require_success
from detente.errors import InvalidValue, require
from detente.executors.base import Executor
from detente.game import Game
from detente.methods.method import Method
from detente.report.comparison import FILE
from detente.report.page import write_report
from detente.training.run import Run
from detente.training.run_directory.description import description
from detente.training.run_directory.directory import PARTS, clear, lock_directory
from detente.training.run_directory.joining import is_split, join_seeds, part_directory
from detente.training.run_directory.record import train_into
from detente.training.run_directory.status import RunStatus, run_status

DescribedRun = tuple[Run, dict[str, Any]]  # a run and its configuration in run.yaml
Make = Callable[[Run, dict[str, Any]], Callable[[], Run]]  # returns what makes a cell's run in any process


def compare(
    game: Game,
    methods: Mapping[str, Method],
    out: Path | str,
    budget: Budget | str | None = None,
    seeds: Iterable[int] = SEEDS,
    baseline: str | None = None,
    overwrite: bool = False,
    executor: Executor | str | None = None,
    split_seeds: bool = False,
    **settings: Any,
) -> Path:
    """Train one game with several methods and the same seeds, and return the path of the report page.

    Args:
        game: the game.
        methods: the methods by name; the names appear on the page.
        out: output folder, with one run directory per method. The same call again resumes unfinished runs.
        budget: limit for each seed, e.g. "60s", "2e5grads" or "20000steps". Default: `steps` in `settings`.
        seeds: random seeds; every method trains once with each.
        baseline: the method that the others are tested against. Default: the first.
        overwrite: replace existing runs.
        executor: where the runs are trained: a member of `detente.executors`, or its name. Default: one after the
            other, in this process. For other processes, the game and the methods are pickled.
        split_seeds: train each seed separately, and merge them at the end.
        settings: other fields of `Run`, e.g. `steps`, `samples`, `compile`.

    Raises:
        InvalidValue: a method does not fit the game; the budget, the folder or the executor cannot be used; a game or
            method cannot be pickled for another process; or a training failed.
    """
    where = named_executor(executor)
    require(len(methods) > 0, "methods", list(methods), "at least one method by name")
    limit = Budget.parse(budget) if isinstance(budget, str) else budget
    by_label = {run_label(name): Run(game, method, seeds=tuple(seeds), **settings) for name, method in methods.items()}
    require(len(by_label) == len(methods), "methods", list(methods), "names that differ in letters and digits")
    runs = {label: apply_budget(limit, run, description(run)) for label, run in by_label.items()}
    folder, config = Path(out), ComparisonConfig(baseline_label(baseline, list(runs)), limit)
    with lock_directory(folder):
        statuses = read_statuses(runs, folder, overwrite, split_seeds)
        config.write(folder / FILE)
        unfinished = {label: run for label, run in runs.items() if statuses[label] != "finished"}
        if where.elsewhere or split_seeds:
            require_success(last_state(train_all(unfinished, folder, where, overwrite, split_seeds)))
        else:
            for label, (run, described) in unfinished.items():
                for _ in train_into(run, folder / label, described, statuses[label] == "unfinished", overwrite):
                    pass
        return write_report([folder], folder / "report.html")


def train_all(
    runs: Mapping[str, DescribedRun],
    folder: Path,
    executor: Executor,
    overwrite: bool = False,
    split_seeds: bool = False,
    make: Make = lambda run, described: partial(same_run, run),
) -> Iterator[GridState]:
    """Train runs into a folder on an executor, join the seeds of those that are split, and yield the grid's states.

    Args:
        runs: the runs that are not finished, and their descriptions, by name.
        folder: the comparison's folder.
        executor: where they are trained.
        overwrite: replace existing runs.
        split_seeds: train each seed separately.
        make: returns what makes a cell's run in any process.
    """
    if overwrite:
        for label in runs:
            if (folder / label).exists():
                with lock_directory(folder / label):
                    clear(folder / label, overwrite=True)
    cells: list[Cell] = []
    for label, (run, described) in runs.items():
        if not split_seeds:
            cells.append(Cell(label, (folder / label).resolve(), described, make(run, described)))
            continue
        for seed in run.seeds:
            content = {**described, "seeds": [seed]}
            directory = part_directory(folder / label, seed).resolve()
            cells.append(Cell(f"{label}/seed{seed}", directory, content, make(replace(run, seeds=(seed,)), content)))
    states: GridState = {}
    for state in carry_out_grid(cells, executor, folder):
        states = state
        yield state
    for label, (run, _) in runs.items() if split_seeds else ():
        if all(states[f"{label}/seed{seed}"].status == "finished" for seed in run.seeds):
            join_seeds(run, folder / label)


def read_statuses(
    runs: Mapping[str, DescribedRun], folder: Path, overwrite: bool, split_seeds: bool = False
) -> dict[str, RunStatus]:
    """Return the status of each run in a comparison's folder.

    Raises:
        InvalidValue: a directory contains something other than its run, or is split if it should not be, or not split
            if it should be.
    """
    statuses: dict[str, RunStatus] = {
        label: "absent" if overwrite else run_status(folder / label, described)
        for label, (_, described) in runs.items()
    }
    for label, status in statuses.items():
        split = is_split(folder / label)
        if split and split_seeds and not overwrite:
            statuses[label] = "unfinished"
        elif status == "other" or (status == "unfinished" and split_seeds):
            allowed = "a new directory, or one that contains the same run"
            hint = "Choose another folder, or replace its content with --overwrite"
            if split or status == "unfinished":
                hint = f"It was started {'with' if split else 'without'} --split-seeds; continue it in the same way"
            raise InvalidValue("out", str(folder / label), allowed, hint)
        elif status == "finished" and (folder / label / PARTS).is_dir():  # killed at the end of joining
            shutil.rmtree(folder / label / PARTS)
    return statuses


def apply_budget(budget: Budget | None, run: Run, described: dict[str, Any]) -> DescribedRun:
    """Return a run with a budget as its limit, and its description."""
    run = run if budget is None else budget.apply_to(run)
    return run, {**described, "steps": run.steps, "seconds": run.seconds}
