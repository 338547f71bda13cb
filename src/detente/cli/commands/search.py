"""`detente search`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from detente.cli import configuration
from detente.cli.commands.compare import without
from detente.cli.commands.train import NO_CHECKS, print_warnings
from detente.cli.display import console
from detente.cli.executor_options import NAMES as EXECUTOR_OPTIONS
from detente.cli.executor_options import add_executor_options, chosen_executor
from detente.cli.grid_display import GridView
from detente.comparison.budget import Budget
from detente.comparison.config import SEEDS, TRIAL_SEEDS
from detente.errors import InvalidValue, require
from detente.training.run_directory.directory import clear
from detente.training.signals import exit_status

if TYPE_CHECKING:
    from detente.comparison.search import DescribedRun, SearchPlan, SearchState
    from detente.comparison.search_space import Range
    from detente.executors.base import Executor

RANK = 55
DESCRIPTION = "Search for the settings of a method, or of a game, that train best at equal budget."
EXAMPLES = """\
examples:
  detente search --game ring --method consensus --over strength=log:0.1:100 learning_rate=log:1e-5:1e-2 \\
                 --trials 40 --budget 2e4grads --out runs/search
  detente search --game digits --method alternating --over learning_rate=log:1e-5:1e-2 game.width=choice:8,16,32 \\
                 --trials 20 --budget 4000grads --executor processes --workers 2 --out runs/digits-search

A range is log:LOW:HIGH, linear:LOW:HIGH (or LOW:HIGH), int:LOW:HIGH or choice:ONE,OTHER,…  Trials that are worse than
two thirds of those at the same budget end early. The same command continues a search; a larger --trials extends it.
"""
OWN_OPTIONS = ("--over", "--trials", "--budget", "--metric", "--no-pruning", "--out", "--overwrite", "--no-checks")


def main(words: Sequence[str]) -> int:
    """Search, write the page, and return the exit status."""
    parser = configuration.parser("search", DESCRIPTION, EXAMPLES, seeds=TRIAL_SEEDS)
    parser.add("--over", list[str], "settings of the method (or game.SETTING) and their ranges", None, "NAME=RANGE")
    parser.add("--trials", int, "total number of trials (default: 40)", 40, "N")
    parser.add("--budget", str, "limit for each seed in place of --steps: 60s, 2e4grads, 5000steps", None)
    parser.add("--metric", str, "metric to optimise (default: the game’s first)", None, "NAME")
    parser.add("--no-pruning", bool, "train every trial to the end of the budget", False)
    parser.add("--out", Path, "output folder, with one run directory for each trial", None)
    parser.add("--overwrite", bool, "replace an earlier search", False)
    parser.add("--no-checks", bool, NO_CHECKS, False)
    add_executor_options(parser)
    options = configuration.parse(parser, words)
    if options.out is None:
        raise InvalidValue("out", None, "a folder to write the trials into", "Say where with --out runs/NAME")
    from detente.comparison.study import require_optuna

    require_optuna()
    executor = chosen_executor(options)
    plan = _plan(options, words)
    from detente.report.search import FILE

    if options.overwrite and options.out.exists():
        clear(options.out, overwrite=True, holds=FILE)
    return carry_out_search(plan, executor, options.out)


def carry_out_search(plan: SearchPlan, executor: Executor, folder: Path) -> int:
    """Run a search in a folder, print its result, and return the exit status."""
    from detente.comparison.search import searching
    from detente.report.search import read_search, search_lines

    try:
        _follow(searching(plan, executor, folder), plan)
    except KeyboardInterrupt as interrupt:
        console.print("Stopped; every trial is saved. The same command continues the search.", soft_wrap=True)
        return exit_status(interrupt)
    for line in search_lines(read_search(folder)):
        console.print(line, soft_wrap=True)
    console.print(f"The page: {folder / 'report.html'}", soft_wrap=True)
    return 0


def _plan(options: SimpleNamespace, words: Sequence[str]) -> SearchPlan:
    """Return the plan of the search."""
    budget = None if options.budget is None else Budget.parse(options.budget)
    for option in ("--steps", "--seconds") if budget else ():
        repeated = any(other.partition("=")[0] == option for other in words)
        require(not repeated, "budget", options.budget, f"either --budget or {option}")
    space = _space(options.over)
    shared = without(list(words), (*OWN_OPTIONS, *EXECUTOR_OPTIONS))
    for end in (0, 1):  # before anything slow is imported
        _parsed({name: values.ends()[end] for name, values in space.items()}, shared, [])
    from detente.comparison.search import SearchPlan, chosen_metric

    first = _built({name: values.ends()[0] for name, values in space.items()}, shared, budget, [])
    if not options.no_checks:
        from detente.checks.base import inspect

        print_warnings(inspect(first[0].game, first[0].method))
    name, metric, requested = chosen_metric(first[0].game, options.metric, first[0].metrics)
    plain = all(isinstance(metric, str) for metric in requested)
    require(plain or requested == first[0].metrics, "metric", name, "one of --metrics, if these have settings in YAML")
    more = ["--metrics", *map(str, requested)] if requested != first[0].metrics else []

    def lines(parameters: Mapping[str, Any]) -> tuple[str, str]:
        run, _ = _built(parameters, shared, budget, [])
        limit = ["--seconds", f"{run.seconds:g}"] if run.seconds else []
        remaining = without(shared, ("--steps", "--seconds", "--seeds", *_words(parameters)[::2]))
        seeds = ["--seeds", *map(str, SEEDS)]
        command = ["detente", "train", *remaining, *_words(parameters), "--steps", str(run.steps), *limit, *seeds]
        return shlex.join([*command, "--out", f"{options.out}-best"]), ""

    return SearchPlan(
        space,
        lambda parameters: _built(parameters, shared, budget, more),
        lambda _, described: partial(configuration.rebuilt, described),
        name,
        metric,
        options.trials,
        "" if budget is None else str(budget),
        not options.no_pruning,
        lines=lines,
    )


def _space(over: Sequence[str] | None) -> dict[str, Range]:
    """Return the ranges that were typed, by option: `strength` is `method.strength`."""
    from detente.comparison.search_space import ALLOWED, parse_space

    if not over:
        raise InvalidValue(
            "over", over, f"settings with ranges: NAME={ALLOWED}", "E.g. --over learning_rate=log:1e-5:1e-2"
        )
    pairs: dict[str, str | Range] = {}
    for text in over:
        name, equals, values = text.partition("=")
        require(bool(equals and name), "over", text, f"NAME={ALLOWED}")
        name = name.removeprefix("--").removeprefix("method.")
        require(name not in pairs, "over", text, "each setting once")
        pairs[name] = values
    return parse_space(pairs)


def _words(parameters: Mapping[str, Any]) -> list[str]:
    """Return settings as words of `detente train`."""
    from detente.comparison.search_space import word

    options = {name if name.startswith("game.") else f"method.{name}": value for name, value in parameters.items()}
    return [part for name, value in options.items() for part in (f"--{name}", word(value))]


def _parsed(parameters: Mapping[str, Any], shared: Sequence[str], more: Sequence[str]) -> SimpleNamespace:
    """Return the options of the run with some settings."""
    words = [*shared, *more, *_words(parameters)]
    if "--loggers" not in shared:
        words += ["--loggers", "[]"]
    return configuration.parse(configuration.parser("train", "", seeds=TRIAL_SEEDS), words)


def _built(
    parameters: Mapping[str, Any], shared: Sequence[str], budget: Budget | None, more: Sequence[str]
) -> DescribedRun:
    """Return the run with some settings, and its description."""
    from detente.comparison.compare import apply_budget
    from detente.comparison.search import with_measurements

    options = _parsed(parameters, shared, more)
    run, described = apply_budget(budget, configuration.build(options), configuration.resolved(options))
    run = with_measurements(run)
    return run, {**described, "measure_every": run.measure_every}


def _follow(states: Iterator[SearchState], plan: SearchPlan) -> None:
    """Show the progress of a search: a bar for it and for each trial in flight, or without a terminal lines."""
    printed: set[int] | None = None  # those of an earlier call are not printed again
    with GridView({}, title="trials") as view:
        for state in states:
            trials = state.record["trials"]
            ended = [trial for trial in trials if trial["status"] != "unfinished"]
            best = next((trial for trial in trials if trial["number"] == state.record["best"]), None)
            view.limits.update((name, state.record["run"]) for name in state.grid)
            remark = "" if best is None else f", best {plan.metric} {best['value']:.4g}"
            view.show(state.grid, f"{len(ended)} of {plan.trials} trials ended{remark}", len(ended), plan.trials)
            for trial in ended if printed is not None and not view.target.is_terminal else ():
                if trial["number"] not in printed:
                    view.target.print(_line(trial, plan), soft_wrap=True)
            printed = {trial["number"] for trial in ended}


def _line(trial: Mapping[str, Any], plan: SearchPlan) -> str:
    """Return the outcome of a trial in one line."""
    from detente.report.search import settings_text, value_text

    value = value_text(trial)
    shown = f" {plan.metric} {value}" if value else ""
    outcome = {"complete": "", "pruned": ", ended early"}.get(trial["status"], f" {trial['status']}: {trial['error']}")
    return f"trial {trial['number']}: {settings_text(trial['parameters'])}:{shown}{outcome}"
