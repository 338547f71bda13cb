"""Compare methods from Python: train each on one game with the same seeds, and write a report page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from detente.comparison.budget import Budget
from detente.comparison.config import SEEDS, ComparisonConfig, baseline_label, run_label
from detente.errors import InvalidValue, require
from detente.game import Game
from detente.methods.method import Method
from detente.report.comparison import FILE
from detente.report.page import write_report
from detente.training.run import Run
from detente.training.run_directory.description import description
from detente.training.run_directory.directory import lock_directory
from detente.training.run_directory.record import train_into
from detente.training.run_directory.status import RunStatus, run_status

DescribedRun = tuple[Run, dict[str, Any]]  # a run and its configuration in run.yaml


def compare(
    game: Game,
    methods: Mapping[str, Method],
    out: Path | str,
    budget: Budget | str | None = None,
    seeds: Iterable[int] = SEEDS,
    baseline: str | None = None,
    overwrite: bool = False,
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
        settings: other fields of `Run`, e.g. `steps`, `samples`, `compile`.

    Raises:
        InvalidValue: a method does not fit the game, or the budget or folder cannot be used.
    """
    require(len(methods) > 0, "methods", list(methods), "at least one method by name")
    limit = Budget.parse(budget) if isinstance(budget, str) else budget
    by_label = {run_label(name): Run(game, method, seeds=tuple(seeds), **settings) for name, method in methods.items()}
    require(len(by_label) == len(methods), "methods", list(methods), "names that differ in letters and digits")
    runs = {label: apply_budget(limit, run, description(run)) for label, run in by_label.items()}
    folder, config = Path(out), ComparisonConfig(baseline_label(baseline, list(runs)), limit)
    with lock_directory(folder):
        statuses = read_statuses(runs, folder, overwrite)
        config.write(folder / FILE)
        for label, (run, described) in runs.items():
            if statuses[label] != "finished":
                for _ in train_into(run, folder / label, described, statuses[label] == "unfinished", overwrite):
                    pass
        return write_report([folder], folder / "report.html")


def read_statuses(runs: Mapping[str, DescribedRun], folder: Path, overwrite: bool) -> dict[str, RunStatus]:
    """Return the status of each run in a comparison's folder.

    Raises:
        InvalidValue: a directory contains something other than its run.
    """
    statuses: dict[str, RunStatus] = {
        label: "absent" if overwrite else run_status(folder / label, described)
        for label, (_, described) in runs.items()
    }
    for label in [label for label, status in statuses.items() if status == "other"]:
        allowed = "a new directory, or one that contains the same run"
        hint = "Choose another folder, or replace its content with --overwrite"
        raise InvalidValue("out", str(folder / label), allowed, hint)
    return statuses


def apply_budget(budget: Budget | None, run: Run, described: dict[str, Any]) -> DescribedRun:
    """Return a run with a budget as its limit, and its description."""
    run = run if budget is None else budget.apply_to(run)
    return run, {**described, "steps": run.steps, "seconds": run.seconds}
