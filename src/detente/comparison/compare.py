"""A comparison from Python: every method trained on one game with the same seeds, and a page about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from detente.comparison.budget import Budget
from detente.comparison.config import ComparisonConfig
from detente.errors import InvalidValue, require, unknown
from detente.game import Game
from detente.methods.method import Method
from detente.report.comparison import FILE
from detente.report.page import write_report
from detente.training.run import Run
from detente.training.run_directory.description import description
from detente.training.run_directory.directory import held
from detente.training.run_directory.record import train_into
from detente.training.run_directory.status import RunStatus, run_status

Described = tuple[Run, dict[str, Any]]  # a run, and what describes it in its run.yaml
SEEDS = tuple(range(10))


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
    """Train a game under several methods with the same seeds, and return the page about them.

    Args:
        game: the game.
        methods: the methods, by their names on the page.
        out: folder to make, with one run directory for each method; the same call continues there.
        budget: limit for each seed, e.g. "60s", "2e5grads" or "20000steps"; default: `steps` of the settings.
        seeds: one training each, the same for every method.
        baseline: the method that the others are tested against (default: the first).
        overwrite: replace existing runs.
        settings: further fields of `Run`, e.g. `steps`, `samples`, `compile`.

    Raises:
        InvalidValue: a method that does not fit the game, or a budget or folder that cannot be used.
    """
    require(len(methods) > 0, "methods", list(methods), "at least one method by name")
    limit = Budget.parse(budget) if isinstance(budget, str) else budget
    by_label = {label_of(name): Run(game, method, seeds=tuple(seeds), **settings) for name, method in methods.items()}
    require(len(by_label) == len(methods), "methods", list(methods), "names that differ in letters and digits")
    runs = {label: within(limit, run, description(run)) for label, run in by_label.items()}
    folder, config = Path(out), ComparisonConfig(baseline_of(baseline, list(runs)), limit)
    with held(folder):
        statuses = statuses_of(runs, folder, overwrite)
        config.write(folder / FILE)
        for label, (run, described) in runs.items():
            if statuses[label] != "finished":
                for _ in train_into(run, folder / label, described, statuses[label] == "unfinished", overwrite):
                    pass
        return write_report([folder], folder / "report.html")


def statuses_of(runs: Mapping[str, Described], folder: Path, overwrite: bool) -> dict[str, RunStatus]:
    """Return how far each run has come in its directory in a comparison's folder.

    Raises:
        InvalidValue: a directory holds something else than its run.
    """
    statuses: dict[str, RunStatus] = {
        label: "absent" if overwrite else run_status(folder / label, described)
        for label, (_, described) in runs.items()
    }
    for label in [label for label, status in statuses.items() if status == "other"]:
        allowed = "a directory that does not exist yet, or holds this very run"
        hint = "Choose another folder, or replace what is there with --overwrite"
        raise InvalidValue("out", str(folder / label), allowed, hint)
    return statuses


def within(budget: Budget | None, run: Run, described: dict[str, Any]) -> Described:
    """Return a run that ends with a budget, and its description."""
    run = run if budget is None else budget.applied(run)
    return run, {**described, "steps": run.steps, "seconds": run.seconds}


def baseline_of(baseline: str | None, labels: Sequence[str]) -> str:
    """Return the label of a comparison's baseline: by default the first run.

    Raises:
        InvalidValue: no run is called so.
    """
    if baseline is None:
        return labels[0]
    if label_of(baseline) not in labels:
        raise unknown("baseline", baseline, labels)
    return label_of(baseline)


def label_of(method: str) -> str:
    """Return the name of a method's run directory: letters, digits and `_-.=,`; anything else becomes a hyphen."""
    return "".join(letter if letter.isalnum() or letter in "_-.=," else "-" for letter in method)
