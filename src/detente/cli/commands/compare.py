"""`detente compare`."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from detente.cli import configuration
from detente.cli.commands.train import NO_CHECKS, carry_out, print_warnings
from detente.cli.display import console, with_progress_bar
from detente.cli.executor_options import NAMES as EXECUTOR_OPTIONS
from detente.cli.executor_options import add_executor_options, chosen_executor
from detente.cli.grid_display import follow_grid
from detente.comparison.budget import Budget
from detente.comparison.config import SEEDS, ComparisonConfig, baseline_label, run_label
from detente.errors import InvalidValue, require
from detente.registry import choices, members
from detente.training.run_directory.directory import lock_directory
from detente.training.signals import exit_status

if TYPE_CHECKING:
    from detente.checks.base import Finding
    from detente.comparison.compare import DescribedRun
    from detente.executors.base import Executor
    from detente.training.run import Run

RANK = 50
DESCRIPTION = "Train one game under several methods with the same seeds, side by side, and write one page about them."
EXAMPLES = """\
examples:
  detente compare --game ring --methods simultaneous consensus --seeds 0 1 2 --steps 2000 --out runs/ring
  detente compare --game ring --methods consensus:strength=1 consensus:strength=10 --out runs/strength
  detente compare --game ring --methods alternating extragradient consensus --budget 2e5grads --tune --out runs/fair
  detente compare --game ring --methods alternating mymodule.my_method --budget 60s --out runs/mine
  detente compare --game digits --methods alternating consensus --executor processes --workers 2 --out runs/digits

Every method has ten seeds unless --seeds names others. The same command continues an interrupted one.
"""
OWN_OPTIONS = ("--methods", "--out", "--overwrite", "--budget", "--baseline", "--tune", "--no-checks", "--split-seeds")


def main(words: Sequence[str]) -> int:
    """Train under every method, write the page, and return the exit status."""
    parser = configuration.parser("compare", DESCRIPTION, EXAMPLES, without=("method",), seeds=SEEDS)
    text = "names from `detente list methods`, optionally with settings: NAME:KEY=VALUE,…; or MODULE.NAME of your own"
    parser.add("--methods", list[str], text, None, "NAME")
    text = "limit for every method in place of --steps: 60s (or min, h), 2e5grads or 20000steps"
    parser.add("--budget", str, text, None)
    parser.add("--baseline", str, "method to test all others against (default: the first)", None, "NAME")
    text = (
        "first train every method with these learning rates, on other seeds with a fifth of the budget, and use the "
        "best rate of each (without RATE: 0.1, 0.3, 1, 3 and 10 times the method's own rate)"
    )
    parser.add("--tune", list[float], text, None, "RATE")
    parser.add("--out", Path, "output folder, with one run directory for each method", None)
    parser.add("--overwrite", bool, "replace existing runs", False)
    parser.add("--no-checks", bool, NO_CHECKS, False)
    add_executor_options(parser)
    parser.add("--split-seeds", bool, "train each seed separately, and merge the seeds at the end", False)
    options = configuration.parse(parser, words)
    if not options.methods:
        raise InvalidValue("methods", options.methods, ", ".join(choices("methods")))
    if options.out is None:
        raise InvalidValue("out", None, "a folder to write the runs into", "Say where with --out runs/NAME")
    budget = None if options.budget is None else Budget.parse(options.budget)
    for word in ("--steps", "--seconds") if budget else ():
        repeated = any(other.partition("=")[0] == word for other in words)
        require(not repeated, "budget", options.budget, f"either --budget or {word}")
    for rate in options.tune or ():
        require(math.isfinite(rate) and rate > 0, "tune", rate, "learning rates: finite numbers > 0")
    labels = [run_label(method) for method in options.methods]
    require(len(set(labels)) == len(labels), "methods", options.methods, "each of them once")
    config = ComparisonConfig(baseline_label(options.baseline, labels), budget)
    executor = chosen_executor(options)
    shared = without(words, (*OWN_OPTIONS, *EXECUTOR_OPTIONS))
    parsed = {label: _parsed(method, shared) for label, method in zip(labels, options.methods, strict=True)}
    from detente.comparison.compare import apply_budget
    from detente.comparison.tuning import tune_learning_rates
    from detente.report.comparison import FILE

    runs = {
        label: apply_budget(budget, configuration.build(each), configuration.resolved(each))
        for label, each in parsed.items()
    }
    if not options.no_checks:
        print_warnings(_findings({label: run for label, (run, _) in runs.items()}))
    try:
        if options.tune is not None:
            with lock_directory(options.out):
                config.write(options.out / FILE)
                if executor.elsewhere:
                    _sweep_on(executor, runs, options.tune, options.out, options.overwrite)
                runs = tune_learning_rates(
                    runs,
                    options.tune,
                    options.out,
                    configuration.rebuilt,
                    options.overwrite and not executor.elsewhere,
                    with_progress_bar,
                    partial(console.print, soft_wrap=True),
                )
    except KeyboardInterrupt as interrupt:
        console.print("Stopped while learning rates were tried. Continue with the same command.")
        return exit_status(interrupt)
    if not executor.elsewhere and not options.split_seeds:
        return carry_out_all(runs, options.out, overwrite=options.overwrite, config=config)
    return carry_out_on(executor, runs, options.out, options.overwrite, options.split_seeds, config)


def _sweep_on(
    executor: Executor, runs: Mapping[str, DescribedRun], rates: Sequence[float], folder: Path, fresh: bool
) -> None:
    """Try learning rates on an executor, and record the trials."""
    from detente.comparison.tuning_grid import sweep_on, trial_cells

    cells = trial_cells(runs, rates, folder, configuration.rebuilt, _make, fresh)
    follow_grid(sweep_on(executor, cells, runs, folder), {cell.name: cell.described for cell in cells.values()})


def _make(run: Run, described: dict[str, Any]) -> partial[Run]:
    """Return what makes a cell's run in any process: its description travels."""
    del run
    return partial(configuration.rebuilt, described)


def _findings(runs: Mapping[str, Run]) -> list[Finding]:
    """Return what is wrong with the game that the runs share, and with each run's method, which it names."""
    from detente.checks.base import inspect

    checks: dict[str, Any] = members("checks")
    shared = [name for name, check in checks.items() if not check.of_method]
    game = next(iter(runs.values())).game
    findings = inspect(game, kinds=shared)
    for label, run in runs.items():
        own_findings = inspect(run.game, run.method, kinds=[name for name in checks if name not in shared])
        findings += [replace(finding, evidence=f"{label}: {finding.evidence}") for finding in own_findings]
    return findings


def carry_out_all(
    runs: dict[str, DescribedRun],
    folder: Path,
    overwrite: bool = False,
    diagnosed: Sequence[str] = (),
    config: ComparisonConfig | None = None,
) -> int:
    """Train every run into a folder of its own, diagnose some, write the page, and return the exit status.

    Finished runs are kept, unfinished ones are continued, and other contents of their folders are refused.
    """
    with lock_directory(folder):
        return _carry_out_all(runs, folder, overwrite, diagnosed, config)


def _carry_out_all(
    runs: dict[str, DescribedRun],
    folder: Path,
    overwrite: bool,
    diagnosed: Sequence[str],
    config: ComparisonConfig | None,
) -> int:
    from detente.cli.commands.diagnose import diagnosis
    from detente.comparison.compare import read_statuses
    from detente.report.comparison import FILE

    statuses = read_statuses(runs, folder, overwrite)
    if config is not None:
        config.write(folder / FILE)
    width = max(map(len, runs))
    for label, (run, described) in runs.items():
        if statuses[label] == "finished":
            console.print(f"{label.ljust(width)}: already finished.", soft_wrap=True)
            continue
        resume, name = statuses[label] == "unfinished", label.ljust(width)
        status = carry_out(run, folder / label, described, resume, overwrite, name, quiet=True)
        if status:
            console.print("Continue the comparison with the same command.")
            return status
    for label in diagnosed:
        for line in diagnosis(folder / label):
            console.print(line, soft_wrap=isinstance(line, str))
    _print_outcome(folder)
    return 0


def carry_out_on(
    executor: Executor,
    runs: dict[str, DescribedRun],
    folder: Path,
    overwrite: bool,
    split_seeds: bool,
    config: ComparisonConfig,
) -> int:
    """Train every run on an executor into a folder of its own, write the page, and return the exit status."""
    with lock_directory(folder):
        return _carry_out_on(executor, runs, folder, overwrite, split_seeds, config)


def _carry_out_on(
    executor: Executor,
    runs: dict[str, DescribedRun],
    folder: Path,
    overwrite: bool,
    split_seeds: bool,
    config: ComparisonConfig,
) -> int:
    from detente.comparison.compare import read_statuses, train_all
    from detente.report.comparison import FILE

    statuses = read_statuses(runs, folder, overwrite, split_seeds)
    config.write(folder / FILE)
    for label in [label for label, status in statuses.items() if status == "finished"]:
        console.print(f"{label}: already finished.", soft_wrap=True)
    unfinished = {label: run for label, run in runs.items() if statuses[label] != "finished"}
    limits = {label: described for label, (_, described) in unfinished.items()}
    if split_seeds:
        limits = {f"{label}/seed{seed}": limits[label] for label, (run, _) in unfinished.items() for seed in run.seeds}
    try:
        states = follow_grid(
            train_all(
                unfinished,
                folder,
                executor,
                overwrite,
                split_seeds,
                _make,
            ),
            limits,
        )
    except KeyboardInterrupt as interrupt:
        console.print("Stopped; every training is saved. Continue the comparison with the same command.")
        return exit_status(interrupt)
    for name, state in states.items():
        if state.progress.fallback_reason:
            console.print(f"{name}: steps ran eagerly: {state.progress.fallback_reason}", soft_wrap=True)
    failed = {name: state.error for name, state in states.items() if state.status == "failed"}
    for name, error in failed.items():
        print(f"detente: {name}: {error}", file=sys.stderr, flush=True)
    if failed:
        console.print(f"{len(failed)} of {len(states)} trainings failed. The same command tries them again.")
        return 2
    _print_outcome(folder)
    return 0


def _print_outcome(folder: Path) -> None:
    """Print the results of a comparison, and write its page."""
    from detente.cli.result_tables import comparison_lines, outcome_table
    from detente.report.page import write_report

    console.print(outcome_table([folder]))
    for line in comparison_lines([folder]):
        console.print(line, soft_wrap=True)
    page = write_report([folder], folder / "report.html")
    console.print(f"The page: {page}", soft_wrap=True)


def _parsed(method: str, shared: list[str]) -> SimpleNamespace:
    """Return the options of one method's run."""
    name, _, settings = method.partition(":")
    words = [*shared, "--method", name]
    for setting in filter(None, settings.split(",")):
        key, equals, value = setting.partition("=")
        if not equals:
            raise InvalidValue("methods", method, "NAME or NAME:KEY=VALUE,KEY=VALUE")
        words.append(f"--method.{key}={value}")
    return configuration.parse(configuration.parser("train", "", seeds=SEEDS), words)


def without(words: Sequence[str], options: tuple[str, ...]) -> list[str]:
    """Return the words without some options, their values and their settings."""
    others, dropping = [], False
    for word in words:
        if word.startswith("--"):
            name = word.partition("=")[0]
            dropping = name in options or name.partition(".")[0] in options
        if not dropping:
            others.append(word)
    return others
