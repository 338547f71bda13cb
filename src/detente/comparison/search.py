"""Search for the settings of a method, or of a game, that train best at equal budget."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from detente.comparison.budget import Budget
from detente.comparison.cells import Cell, require_portable, same_run, train_cell
from detente.comparison.config import TRIAL_SEEDS
from detente.comparison.grid import POLL_SECONDS, CellState, GridState, named_executor
from detente.comparison.search_space import Range, parse_space, word
from detente.comparison.study import HALVING, Study
from detente.comparison.sweep import metric_directions
from detente.errors import InvalidValue, require
from detente.executors.base import Ended, Executor
from detente.game import Game
from detente.methods.method import Method
from detente.metrics.base import Metric
from detente.metrics.selection import metrics_by_label
from detente.report.run_progress import metric_history, read_progress
from detente.report.search import FILE, write_search_report
from detente.training.loop import applicable
from detente.training.run import Run
from detente.training.run_directory.description import description
from detente.training.run_directory.directory import lock_directory, write_text

DescribedRun = tuple[Run, dict[str, Any]]
Build = Callable[[Mapping[str, Any]], DescribedRun]
SHARES = (1 / HALVING**2, 1 / HALVING, 1.0)  # of the budget at each rung
COMPARED = ("over", "metric", "pruning", "seed", "run")  # these must not change when a search continues


@dataclass(frozen=True)
class SearchPlan:
    """The settings to search, and how.

    Args:
        space: the range of every setting.
        build: returns the run with given settings, and its description.
        make: returns what makes a cell's run in any process.
        metric: name of the metric to optimise.
        measured: the metric itself.
        trials: total number of trials, ≥ 1.
        budget: limit for each seed in words; empty if the number of steps is the limit.
        pruning: end trials early that are worse than two thirds at the same budget.
        seed: seed of the proposals.
        lines: returns how the run with given settings is typed on the command line, and in Python; either may be empty.
    """

    space: Mapping[str, Range]
    build: Build
    make: Callable[[Run, dict[str, Any]], Callable[[], Run]]
    metric: str
    measured: Metric
    trials: int
    budget: str = ""
    pruning: bool = True
    seed: int = 0
    lines: Callable[[Mapping[str, Any]], tuple[str, str]] = lambda parameters: ("", "")

    def __post_init__(self) -> None:
        require(self.trials >= 1, "trials", self.trials, "an integer ≥ 1")
        better = self.measured.better
        require(better != "none", "metric", self.metric, "a metric whose higher or lower values are better")


@dataclass(frozen=True)
class SearchState:
    """The state of a search: its record, as in search.json, and the trials in flight."""

    record: Mapping[str, Any]
    grid: GridState


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Args:
        parameters: the best settings; empty if no trial was completed.
        value: the metric's value with these settings; None if there are none.
        page: path of the report page.
        trials: all trials, as in search.json.
    """

    parameters: Mapping[str, Any]
    value: float | None
    page: Path
    trials: tuple[Mapping[str, Any], ...]


def search(
    game: Game,
    method: Callable[..., Method],
    over: Mapping[str, str | Range],
    out: Path | str,
    trials: int = 40,
    budget: Budget | str | None = None,
    metric: str | None = None,
    seeds: Iterable[int] = TRIAL_SEEDS,
    executor: Executor | str | None = None,
    pruning: bool = True,
    seed: int = 0,
    **settings: Any,
) -> SearchResult:
    """Search the arguments of a method for those that train a game best, and write a report page.

    The value of a trial is the mean of a metric over its seeds at the end of the budget. A trial with a seed that
    diverges is bad; one that cannot be built, or whose training raises an error, is left out.

    Args:
        game: the game.
        method: returns the method for given arguments, e.g. `methods.consensus`.
        over: the range of each argument: "log:1e-5:1e-2", "linear:0:1", "int:1:5" or "choice:sgd,adam".
        out: output folder, with one run directory per trial. The same call again continues the search.
        trials: total number of trials.
        budget: limit for each seed of a trial, e.g. "2e4grads". Default: `steps` in `settings`.
        metric: the metric to optimise. Default: the first that can rank learning rates.
        seeds: random seeds of each trial; use different ones in a later comparison.
        executor: where the trials are trained: a member of `detente.executors`, or its name. Default: one after the
            other, in this process.
        pruning: end a trial at a ninth or a third of the budget if it is worse than two thirds of those at this point.
        seed: seed of the proposals.
        settings: other fields of `Run`, e.g. `steps`, `samples`, `compile`.

    Raises:
        InvalidValue: Optuna is not installed; a range, metric, budget, folder or executor cannot be used; the game or
            method cannot be pickled for another process; or the folder contains another search.
    """
    space = parse_space(over)
    limit = Budget.parse(budget) if isinstance(budget, str) else budget
    name, measured, extra = chosen_metric(game, metric, settings.get("metrics", ()))
    settings = {"loggers": (), **settings, "metrics": extra}

    def build(parameters: Mapping[str, Any]) -> DescribedRun:
        run = Run(game, method(**parameters), seeds=tuple(seeds), **settings)
        run = with_measurements(run if limit is None else limit.apply_to(run))
        return run, description(run)

    def lines(parameters: Mapping[str, Any]) -> tuple[str, str]:
        arguments = ", ".join(f"{key}={value!r}" for key, value in parameters.items())
        return "", f"{getattr(method, '__name__', 'method')}({arguments})"

    seeds = tuple(seeds)
    make = lambda run, _: partial(same_run, run)  # noqa: E731
    words = "" if limit is None else str(limit)
    plan = SearchPlan(space, build, make, name, measured, trials, words, pruning, seed, lines)
    for _ in searching(plan, named_executor(executor), Path(out)):
        pass
    record = json.loads((Path(out) / FILE).read_text(encoding="utf-8"))
    best = best_of(record)
    return SearchResult(
        best["parameters"] if best else {},
        best["value"] if best else None,
        Path(out) / "report.html",
        tuple(record["trials"]),
    )


def searching(plan: SearchPlan, executor: Executor, folder: Path) -> Generator[SearchState, None, None]:
    """Carry out a search in a folder, and yield its state about twice a second and at its end.

    When the iterator is closed, by Ctrl-C or otherwise, the running trials are saved and stopped; the same call
    continues them.

    Raises:
        InvalidValue: see `search`.
    """
    for end in (0, 1):  # before anything starts
        run, described = plan.build({name: interval.ends()[end] for name, interval in plan.space.items()})
        require_portable([_cell(plan, "trial", folder, run, described, 0)], executor)
    with lock_directory(folder):
        yield from _Search(plan, executor, folder).carried_out()


class _Search:
    """A search in its folder."""

    def __init__(self, plan: SearchPlan, executor: Executor, folder: Path) -> None:
        self.plan, self.executor, self.folder = plan, executor, folder
        self.description = self._description()
        _require_same(folder / FILE, self.description)
        self.study = Study(folder, plan.space, plan.measured.better, plan.seed)
        self.waiting: deque[Any] = deque()
        self.lines: dict[int, tuple[str, str]] = {}  # of the best trial
        self.in_flight: dict[str, tuple[Any, int, Cell]] = {}  # by name: trial, rung and cell

    def carried_out(self) -> Iterator[SearchState]:
        """Carry the search out, and yield its states."""
        for trial in self.study.unfinished():
            rung = self.study.next_rung(trial)
            if self.study.is_pruned(trial, rung - 1):
                self.study.end(trial, "pruned")
            else:
                self.waiting.append(trial)
        record = self._write()
        yield SearchState(record, {})
        with self.executor.open(self.folder) as session:
            while True:
                while len(self.in_flight) < session.capacity and (cell := self._next()) is not None:
                    session.submit(cell.name, train_cell, cell)
                    record = self._write()
                if not self.in_flight:
                    break
                for ended in session.wait(POLL_SECONDS):
                    self._end(ended)
                    record = self._write()
                states = {
                    n: CellState("training", read_progress(c.directory)) for n, (_, _, c) in self.in_flight.items()
                }
                yield SearchState(record, states)
        yield SearchState(self._write(), {})
        write_search_report(self.folder)

    def _next(self) -> Cell | None:
        """Return the next cell: a trial that continues, or a new one; None if there is none."""
        while self.waiting or len(self.study.trials()) < self.plan.trials:
            trial = self.waiting.popleft() if self.waiting else self.study.ask()
            rung, name = self.study.next_rung(trial), trial_name(trial.number)
            try:
                run, described = self.plan.build(self.study.parameters(trial))
            except InvalidValue as error:
                self.study.end(trial, "failed", error=" ".join(str(error).split()))
                self._write()
                continue
            cell = _cell(self.plan, name, self.folder, run, described, rung)
            cell = replace(cell, foreign_locks=self.executor.several_machines)
            self.in_flight[name] = trial, rung, cell
            return cell
        return None

    def _end(self, ended: Ended) -> None:
        """Record that a trial has reached its rung, and decide whether it continues."""
        trial, rung, cell = self.in_flight.pop(ended.key)
        if ended.status == "failed":
            self.study.end(trial, "failed", error=ended.error)
        if ended.status != "done":  # one that was stopped from outside continues in the next call
            return
        progress, history = read_progress(cell.directory), metric_history(cell.directory, self.plan.metric)
        last = [history[seed][-1][1] for seed in cell.described["seeds"] if history.get(seed)]
        if progress.diverged or len(last) < len(cell.described["seeds"]):
            reason = (
                f"seed {', '.join(map(str, progress.diverged))}" if progress.diverged else "the metric has no value"
            )
            self.study.end(trial, "diverged", error=reason)
            return
        value = sum(last) / len(last)
        if cell.share >= 1:
            self.study.end(trial, "complete", value)
        elif self.study.is_pruned(trial, rung, value):
            self.study.end(trial, "pruned")
        else:
            self.waiting.appendleft(trial)

    def _description(self) -> dict[str, Any]:
        plan = self.plan
        run, described = plan.build({name: interval.ends()[0] for name, interval in plan.space.items()})
        steps = {"steps": run.steps, "seconds": run.seconds, "seeds": list(run.seeds)}
        description = {
            "over": {name: str(interval) for name, interval in plan.space.items()},
            "metric": plan.metric,
            "title": plan.measured.title or plan.metric.replace("_", " ").capitalize(),
            "unit": plan.measured.unit,
            "better": plan.measured.better,
            "pruning": plan.pruning,
            "seed": plan.seed,
            "budget": plan.budget or f"{run.steps:,} steps",
            "run": {**described, **steps},
        }
        return json.loads(json.dumps(description, default=str))

    def _write(self) -> dict[str, Any]:
        """Write the record, and return it."""
        trials = self.study.trials()
        for trial in trials:
            trial["directory"] = f"trials/{trial_name(trial['number'])}"
            trial["steps"] = read_progress(self.folder / trial["directory"]).step
        record = {
            **self.description,
            "planned": self.plan.trials,
            "importance": self.study.importance(),
            "trials": trials,
        }
        best = best_of(record)
        if best and best["number"] not in self.lines:
            self.lines = {best["number"]: self.plan.lines(best["parameters"])}
        command, python = self.lines[best["number"]] if best else ("", "")
        record |= {"best": best["number"] if best else None, "command": command, "python": python}
        write_text(self.folder / FILE, json.dumps(record, indent=1, ensure_ascii=False))
        return record


def trial_name(number: int) -> str:
    """Return the name of a trial's run directory."""
    return f"trial{number:04d}"


def best_of(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the best of the completed trials in a search's record; None if there is none."""
    complete = [trial for trial in record["trials"] if trial["status"] == "complete"]
    sign = 1 if record["better"] == "higher" else -1
    return max(complete, key=lambda trial: sign * trial["value"], default=None)


def chosen_metric(
    game: Game, name: str | None, requested: Iterable[str | Metric] = ()
) -> tuple[str, Metric, tuple[str | Metric, ...]]:
    """Return the name of the metric to optimise, the metric, and the metrics that a run must measure.

    Args:
        game: the game.
        name: the metric's name. Default: the first requested one with a direction, else the first of those that rank
            learning rates.
        requested: metrics that the run asks for anyway.

    Raises:
        InvalidValue: there is no such metric, or none that can rank runs.
    """
    requested = tuple(requested)
    known = {**applicable(game), **metrics_by_label(requested)}
    if name is None:
        ranked = [each for each, metric in metrics_by_label(requested).items() if metric.better != "none"]
        if not ranked and all(metric.better == "none" for metric in known.values()):
            allowed = "a metric that ranks the trials"
            hint = "The game has none of its own; name one, such as my_module.MyMetric"
            raise InvalidValue("metric", None, allowed, hint)
        name = next(iter(ranked or metric_directions(game)))
    if name not in known:
        (name, metric), *_ = metrics_by_label(name).items()
        reason = metric.missing(game)
        require(not reason, "metric", name, "a metric that applies to this game", reason)
        known[name], requested = metric, (*requested, name)
    return name, known[name], requested


def with_measurements(run: Run) -> Run:
    """Return the run with a measurement at every rung, unless it sets its own interval."""
    if run.measure_every is not None or run.seconds is not None:
        return run
    return replace(run, measure_every=max(1, run.steps // HALVING**2))


def shares(run: Run, pruning: bool) -> tuple[float, ...]:
    """Return the share of its steps or seconds that a run has trained at each rung, ascending to 1."""
    if not pruning:
        return (1.0,)
    if run.seconds is not None:
        return SHARES
    unit = run.every("measure")
    steps = [min(run.steps, unit * max(1, round(run.steps * share / unit))) for share in SHARES]
    return tuple(step / run.steps for step in dict.fromkeys([*steps[:-1], run.steps]))


def _cell(plan: SearchPlan, name: str, folder: Path, run: Run, described: dict[str, Any], rung: int) -> Cell:
    at = shares(run, plan.pruning)
    directory = (folder / "trials" / name).resolve()
    return Cell(name, directory, described, plan.make(run, described), at[min(rung, len(at) - 1)])


def _require_same(path: Path, description: Mapping[str, Any]) -> None:
    """Raise `InvalidValue` if a folder contains another search."""
    if not path.exists():
        return
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    different = [name for name in COMPARED if recorded.get(name) != description[name]]
    if different:
        before = ", ".join(f"{name}={word(value)}" for name, value in recorded.get("over", {}).items())
        hint = f"It holds a search over {before} that differs in: {', '.join(different)}. Choose another folder"
        raise InvalidValue("out", str(path.parent), "a new folder, or that of the same search", hint)
