"""The sweep of `detente compare --tune`, which gives each method its own learning rate."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from detente.cli import configuration
from detente.cli.display import console, shown
from detente.errors import InvalidValue
from detente.report.comparison import TUNING
from detente.training import sweep
from detente.training.loop import Tick
from detente.training.rates import follow, rates, scaled
from detente.training.run import Run
from detente.training.run_directory.record import write_text

Described = tuple[Run, dict[str, Any]]


def tuned(
    runs: dict[str, Described], requested: Sequence[float], folder: Path, fresh: bool = False
) -> dict[str, Described]:
    """Return the runs, each at the best of several learning rates, and record the trials in `folder`/tuning.json.

    Args:
        runs: runs and their descriptions, by name.
        requested: rates to try; empty for multiples of each method's own.
        folder: the comparison's folder.
        fresh: repeat trials that are recorded.
    """
    better = sweep.deciding(next(iter(runs.values()))[0].game)
    recorded = {} if fresh else _recorded(folder / TUNING)
    content: dict[str, Any] = {
        "share": sweep.SHARE,
        "seeds": list(sweep.SEEDS),
        "deciding": list(better),
        "methods": {},
    }

    def write(label: str, entry: dict[str, Any]) -> None:
        content["methods"][label] = entry
        methods = {**recorded, **content["methods"]}
        write_text(folder / TUNING, json.dumps({**content, "methods": methods}, indent=1))

    return {
        label: _tuned(label, *described, requested, better, recorded.get(label, {}), write)
        for label, described in runs.items()
    }


def _tuned(
    label: str,
    run: Run,
    described: dict[str, Any],
    requested: Sequence[float],
    better: dict[str, str],
    recorded: dict[str, Any],
    write: Callable[[str, dict[str, Any]], None],
) -> Described:
    short = sweep.shorter(run)
    # Trials of an equal description are used again.
    description = {**described, "steps": short.steps, "seconds": short.seconds, "seeds": list(short.seeds)}
    entry: dict[str, Any] = {"asked": description, "trials": [], "best": None, "remark": ""}
    choices = _choices(run, described, requested)
    if not choices:
        entry["remark"] = "its configuration names no learning rate that reaches its optimizers, so none was swept"
        write(label, entry)
        return run, described
    trials = _trials(recorded, description)
    done: list[sweep.Trial] = []
    for rate, (run_at_rate, _) in choices.items():
        match = next((trial for trial in trials if math.isclose(trial.rate, rate, rel_tol=1e-5)), None)
        done.append(match or sweep.tried(sweep.shorter(run_at_rate), rate, _track(label, rate)))
        entry["trials"] = [trial.told() for trial in done]
        write(label, entry)
    winner = sweep.best(done, better, rates(run.method)[0])
    remark = sweep.remark(done, winner, better)
    write(label, {**entry, "best": winner.rate, "remark": remark})
    console.print(f"{label}: learning rate {winner.rate:g}{f'; {remark}' if remark else ''}.", soft_wrap=True)
    return choices[winner.rate]


def _choices(run: Run, described: dict[str, Any], requested: Sequence[float]) -> dict[float, Described]:
    """Return the run at each rate; empty if the rates of its configuration do not reach its optimizers."""
    own = rates(run.method)
    factors = [rate / own[0] for rate in sorted(set(requested))] or sweep.FACTORS if own else []
    choices: dict[float, Described] = {}
    for factor in factors:
        if math.isclose(factor, 1.0):
            choices[float(f"{own[0]:.6g}")] = run, described
            continue
        content = {**described, "method": scaled(described["method"], factor, own[0])}
        try:
            rebuilt = configuration.rebuilt(content)
        except InvalidValue:
            return {}
        if not follow(own, rates(rebuilt.method), factor):
            return {}
        choices[float(f"{factor * own[0]:.6g}")] = rebuilt, content
    return choices


def _track(label: str, rate: float) -> sweep.Track:
    def track(ticks: Iterator[Tick], run: Run) -> Iterator[Tick]:
        return shown(ticks, run, f"{label} at {rate:g}")

    return track


def _trials(recorded: dict[str, Any], description: dict[str, Any]) -> list[sweep.Trial]:
    """Return the recorded trials if they are of an equal description."""
    try:
        equal = recorded["asked"] == json.loads(json.dumps(description))
        return [sweep.Trial(**trial) for trial in recorded["trials"]] if equal else []
    except (KeyError, TypeError):
        return []


def _recorded(path: Path) -> dict[str, Any]:
    try:
        methods = json.loads(path.read_text(encoding="utf-8"))["methods"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return methods if isinstance(methods, dict) else {}
