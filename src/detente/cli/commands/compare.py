"""`detente compare`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from detente.cli import configuration
from detente.cli.commands.train import NO_CHECKS, carry_out, print_warnings
from detente.cli.display import console, with_progress_bar
from detente.comparison.budget import Budget
from detente.comparison.config import SEEDS, ComparisonConfig, baseline_label, run_label
from detente.errors import InvalidValue, require
from detente.registry import members
from detente.training.run_directory.directory import lock_directory
from detente.training.signals import exit_status

if TYPE_CHECKING:
    from detente.checks.base import Finding
    from detente.cli.command_words import Parser
    from detente.comparison.compare import DescribedRun
    from detente.training.run import Run

RANK = 50
DESCRIPTION = "Train one game under several methods with the same seeds, side by side, and write one page about them."
EXAMPLES = """\
examples:
  detente compare --game ring --methods simultaneous consensus --seeds 0 1 2 --steps 2000 --out runs/ring
  detente compare --game ring --methods consensus:strength=1 consensus:strength=10 --out runs/strength
  detente compare --game ring --methods alternating extragradient consensus --budget 2e5grads --tune --out runs/fair
  detente compare --game ring --methods alternating mymodule.my_method --budget 60s --out runs/mine

Every method has ten seeds unless --seeds names others. The same command continues an interrupted one.
"""
OWN_OPTIONS = ("--methods", "--out", "--overwrite", "--budget", "--baseline", "--tune", "--no-checks")


def main(words: Sequence[str]) -> int:
    """Train under every method, write the page, and return the exit status."""
    parser = configuration.parser("compare", DESCRIPTION, EXAMPLES, without=("method",), seeds=SEEDS)
    text = "names from `detente list methods`, with settings if wanted: NAME:KEY=VALUE,…; or MODULE.NAME of yours"
    parser.add("--methods", list[str], text, None, "NAME")
    text = "end every method alike instead of by --steps: 60s (or min, h), 2e5grads or 20000steps"
    parser.add("--budget", str, text, None)
    parser.add("--baseline", str, "test all others against it (default: the first)", None, "NAME")
    text = (
        "first try every method at these learning rates, on other seeds with a fifth of the budget, and take each "
        "at its best (without rates: at 0.1, 0.3, 1, 3 and 10 times its own)"
    )
    parser.add("--tune", list[float], text, None, "RATE")
    parser.add("--out", Path, "folder to make, with one run directory for each method", None)
    parser.add("--overwrite", bool, "replace existing runs", False)
    parser.add("--no-checks", bool, NO_CHECKS, False)
    options = configuration.parse(parser, words)
    if not options.methods:
        raise InvalidValue("methods", options.methods, ", ".join(configuration.named_methods()))
    if options.out is None:
        raise InvalidValue("out", None, "a folder to write the runs into", "Say where with --out runs/NAME")
    budget = None if options.budget is None else Budget.parse(options.budget)
    for word in ("--steps", "--seconds") if budget else ():
        both = any(other.partition("=")[0] == word for other in words)
        require(not both, "budget", options.budget, f"either --budget or {word}")
    for rate in options.tune or ():
        require(math.isfinite(rate) and rate > 0, "tune", rate, "learning rates: finite numbers > 0")
    labels = [run_label(method) for method in options.methods]
    require(len(set(labels)) == len(labels), "methods", options.methods, "each of them once")
    config = ComparisonConfig(baseline_label(options.baseline, labels), budget)
    shared = _without(list(words), OWN_OPTIONS)
    parsed = {label: _parsed(method, shared) for label, method in zip(labels, options.methods, strict=True)}
    from detente.comparison.compare import apply_budget
    from detente.comparison.tuning import tune_learning_rates
    from detente.report.comparison import FILE

    runs = {
        label: apply_budget(budget, configuration.build(*each), configuration.resolved(*each))
        for label, each in parsed.items()
    }
    if not options.no_checks:
        print_warnings(_findings({label: run for label, (run, _) in runs.items()}))
    try:
        if options.tune is not None:
            with lock_directory(options.out):
                config.write(options.out / FILE)
                runs = tune_learning_rates(
                    runs,
                    options.tune,
                    options.out,
                    configuration.rebuilt,
                    options.overwrite,
                    with_progress_bar,
                    partial(console.print, soft_wrap=True),
                )
    except KeyboardInterrupt as interrupt:
        console.print("Stopped while learning rates were tried. Continue with the same command.")
        return exit_status(interrupt)
    return carry_out_all(runs, options.out, overwrite=options.overwrite, config=config)


def _findings(runs: Mapping[str, Run]) -> list[Finding]:
    """Return what is wrong with the game that the runs share, and with each run's method, which it names."""
    from detente.checks.base import inspect

    checks: dict[str, Any] = members("checks")
    shared = [name for name, check in checks.items() if not check.of_method]
    game = next(iter(runs.values())).game
    findings = inspect(game, kinds=shared)
    for label, run in runs.items():
        own = inspect(run.game, run.method, kinds=[name for name in checks if name not in shared])
        findings += [replace(finding, evidence=f"{label}: {finding.evidence}") for finding in own]
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
    from detente.cli.result_tables import comparison_lines, outcome_table
    from detente.comparison.compare import read_statuses
    from detente.report.comparison import FILE
    from detente.report.page import write_report

    statuses = read_statuses(runs, folder, overwrite)
    if config is not None:
        config.write(folder / FILE)
    width = max(map(len, runs))
    for label, (run, described) in runs.items():
        if statuses[label] == "finished":
            console.print(f"{label.ljust(width)}: finished before; kept.", soft_wrap=True)
            continue
        resume, name = statuses[label] == "unfinished", label.ljust(width)
        status = carry_out(run, folder / label, described, resume, overwrite, name, quiet=True)
        if status:
            console.print("Continue the comparison with the same command.")
            return status
    for label in diagnosed:
        for line in diagnosis(folder / label):
            console.print(line, soft_wrap=isinstance(line, str))
    console.print(outcome_table([folder]))
    for line in comparison_lines([folder]):
        console.print(line, soft_wrap=True)
    page = write_report([folder], folder / "report.html")
    console.print(f"The page: {page}", soft_wrap=True)
    return 0


def _parsed(method: str, shared: list[str]) -> tuple[Parser, SimpleNamespace]:
    """Return the parser and the options of one method's run."""
    name, _, settings = method.partition(":")
    words = [*shared, "--method", name]
    for setting in filter(None, settings.split(",")):
        key, equals, value = setting.partition("=")
        if not equals:
            raise InvalidValue("methods", method, "NAME or NAME:KEY=VALUE,KEY=VALUE")
        words.append(f"--method.{key}={value}")
    parser = configuration.parser("train", "", seeds=SEEDS)
    return parser, configuration.parse(parser, words)


def _without(words: list[str], options: tuple[str, ...]) -> list[str]:
    """Return the words without some options and their values."""
    others, dropping = [], False
    for word in words:
        if word.startswith("--"):
            dropping = word.partition("=")[0] in options
        if not dropping:
            others.append(word)
    return others
