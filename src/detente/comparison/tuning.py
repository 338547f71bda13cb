"""Select a learning rate for each method by a sweep."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from detente.comparison import sweep
from detente.comparison.learning_rates import rates, rates_match, scale_rates
from detente.errors import InvalidValue
from detente.report.comparison import TUNING
from detente.training.loop import Tick
from detente.training.run import Run
from detente.training.run_directory.record import write_text

DescribedRun = tuple[Run, dict[str, Any]]


def tune_learning_rates(
    runs: dict[str, DescribedRun],
    requested: Sequence[float],
    folder: Path,
    rebuild: Callable[[dict[str, Any]], Run],
    fresh: bool = False,
    track: Callable[[Iterator[Tick], Run, str], Iterator[Tick]] = lambda ticks, run, name: ticks,
    announce: Callable[[str], None] = lambda line: None,
) -> dict[str, DescribedRun]:
    """Return each run at the best of several learning rates, and record the trials in `folder`/tuning.json.

    Args:
        runs: runs and their descriptions, by name.
        requested: learning rates to try; empty: multiples of each method's default.
        folder: the comparison's folder.
        rebuild: builds a run from its description.
        fresh: repeat recorded trials.
        track: wraps the ticks of a trial, e.g. to show progress; called with the ticks, the run and its name.
        announce: called with one line of text for each selected rate.
    """
    directions = sweep.metric_directions(next(iter(runs.values()))[0].game)
    recorded = {} if fresh else read_recorded(folder / TUNING)
    content: dict[str, Any] = {
        "share": sweep.SHARE,
        "seeds": list(sweep.SEEDS),
        "deciding": list(directions),
        "methods": {},
    }

    def write(label: str, entry: dict[str, Any]) -> None:
        content["methods"][label] = entry
        methods = {**recorded, **content["methods"]}
        write_text(folder / TUNING, json.dumps({**content, "methods": methods}, indent=1))

    return {
        label: _tune_run(
            label, *described, requested, directions, recorded.get(label, {}), write, rebuild, track, announce
        )
        for label, described in runs.items()
    }


def _tune_run(
    label: str,
    run: Run,
    described: dict[str, Any],
    requested: Sequence[float],
    directions: dict[str, str],
    recorded: dict[str, Any],
    write: Callable[[str, dict[str, Any]], None],
    rebuild: Callable[[dict[str, Any]], Run],
    track: Callable[[Iterator[Tick], Run, str], Iterator[Tick]],
    announce: Callable[[str], None],
) -> DescribedRun:
    description = describe_trials(run, described)
    entry: dict[str, Any] = {"description": description, "trials": [], "best": None, "remark": ""}
    choices = runs_by_rate(run, described, requested, rebuild)
    if not choices:
        entry["remark"] = "its configuration sets no learning rate of its optimizers, so none was swept"
        write(label, entry)
        return run, described
    trials = recorded_trials(recorded, description)
    finished_trials: list[sweep.Trial] = []
    for rate, (run_at_rate, _) in choices.items():
        match = next((trial for trial in trials if math.isclose(trial.rate, rate, rel_tol=1e-5)), None)
        name = f"{label} at {rate:g}"
        finished_trials.append(
            match
            or sweep.run_trial(
                sweep.trial_run(run_at_rate), rate, lambda ticks, run, name=name: track(ticks, run, name)
            )
        )
        entry["trials"] = [asdict(trial) for trial in finished_trials]
        write(label, entry)
    winner = sweep.best_trial(finished_trials, directions, rates(run.method)[0])
    remark = sweep.remark(finished_trials, winner, directions)
    write(label, {**entry, "best": winner.rate, "remark": remark})
    announce(f"{label}: learning rate {winner.rate:g}{f'; {remark}' if remark else ''}.")
    return choices[winner.rate]


def describe_trials(run: Run, described: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a run's trials; recorded trials with an equal one are used again."""
    short = sweep.trial_run(run)
    return {**described, "steps": short.steps, "seconds": short.seconds, "seeds": list(short.seeds)}


def runs_by_rate(
    run: Run, described: dict[str, Any], requested: Sequence[float], rebuild: Callable[[dict[str, Any]], Run]
) -> dict[float, DescribedRun]:
    """Return the run at each rate; empty if the rates in its configuration do not set those of its optimizers."""
    default_rates = rates(run.method)
    factors = [rate / default_rates[0] for rate in sorted(set(requested))] or sweep.FACTORS if default_rates else []
    choices: dict[float, DescribedRun] = {}
    for factor in factors:
        if math.isclose(factor, 1.0):
            choices[float(f"{default_rates[0]:.6g}")] = run, described
            continue
        content = {**described, "method": scale_rates(described["method"], factor, default_rates[0])}
        try:
            rebuilt = rebuild(content)
        except InvalidValue:
            return {}
        if not rates_match(default_rates, rates(rebuilt.method), factor):
            return {}
        choices[float(f"{factor * default_rates[0]:.6g}")] = rebuilt, content
    return choices


def recorded_trials(recorded: dict[str, Any], description: dict[str, Any]) -> list[sweep.Trial]:
    """Return the recorded trials if their description is equal to this one."""
    try:
        stored = recorded["description"] if "description" in recorded else recorded["asked"]  # of an earlier release
        equal = stored == json.loads(json.dumps(description))
        return [sweep.Trial(**trial) for trial in recorded["trials"]] if equal else []
    except (KeyError, TypeError):
        return []


def read_recorded(path: Path) -> dict[str, Any]:
    """Return the entries of tuning.json by name of the run; empty if it cannot be read."""
    try:
        methods = json.loads(path.read_text(encoding="utf-8"))["methods"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return methods if isinstance(methods, dict) else {}
