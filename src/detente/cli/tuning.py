"""How `detente compare --tune` gives each method its own learning rate, and keeps what it tried."""

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
    runs: dict[str, Described], asked: Sequence[float], folder: Path, fresh: bool = False
) -> dict[str, Described]:
    """Return the runs, each at the best of several learning rates, which `folder`/tuning.json then tells.

    Args:
        runs: by name, with what describes each.
        asked: rates to try; none for multiples of each method's own.
        folder: the comparison's.
        fresh: try again what was tried before.
    """
    better = sweep.deciding(next(iter(runs.values()))[0].game)
    kept = {} if fresh else _kept(folder / TUNING)
    told: dict[str, Any] = {"share": sweep.SHARE, "seeds": list(sweep.SEEDS), "deciding": list(better), "methods": {}}

    def write(label: str, entry: dict[str, Any]) -> None:
        told["methods"][label] = entry
        write_text(folder / TUNING, json.dumps({**told, "methods": {**kept, **told["methods"]}}, indent=1))

    return {label: _tuned(label, *one, asked, better, kept.get(label, {}), write) for label, one in runs.items()}


def _tuned(
    label: str,
    run: Run,
    described: dict[str, Any],
    asked: Sequence[float],
    better: dict[str, str],
    before: dict[str, Any],
    write: Callable[[str, dict[str, Any]], None],
) -> Described:
    short = sweep.shorter(run)
    # The same words as of old mean that its trials may be used again.
    same = {**described, "steps": short.steps, "seconds": short.seconds, "seeds": list(short.seeds)}
    entry: dict[str, Any] = {"asked": same, "trials": [], "best": None, "remark": ""}
    choices = _choices(run, described, asked)
    if not choices:
        entry["remark"] = "its configuration names no learning rate that reaches its optimizers, so none was swept"
        write(label, entry)
        return run, described
    trials = _trials(before, same)
    done: list[sweep.Trial] = []
    for rate, (chosen, _) in choices.items():
        known = next((trial for trial in trials if math.isclose(trial.rate, rate, rel_tol=1e-5)), None)
        done.append(known or sweep.tried(sweep.shorter(chosen), rate, _track(label, rate)))
        entry["trials"] = [trial.told() for trial in done]
        write(label, entry)
    winner = sweep.best(done, better, rates(run.method)[0])
    remark = sweep.remark(done, winner, better)
    write(label, {**entry, "best": winner.rate, "remark": remark})
    console.print(f"{label}: learning rate {winner.rate:g}{f'; {remark}' if remark else ''}.", soft_wrap=True)
    return choices[winner.rate]


def _choices(run: Run, described: dict[str, Any], asked: Sequence[float]) -> dict[float, Described]:
    """Return by rate the run at each; none where the rates of its configuration do not reach its optimizers."""
    own = rates(run.method)
    factors = [rate / own[0] for rate in sorted(set(asked))] or sweep.FACTORS if own else []
    found: dict[float, Described] = {}
    for factor in factors:
        if math.isclose(factor, 1.0):
            found[float(f"{own[0]:.6g}")] = run, described
            continue
        content = {**described, "method": scaled(described["method"], factor, own[0])}
        try:
            made = configuration.rebuilt(content)
        except InvalidValue:
            return {}
        if not follow(own, rates(made.method), factor):
            return {}
        found[float(f"{factor * own[0]:.6g}")] = made, content
    return found


def _track(label: str, rate: float) -> sweep.Track:
    def track(ticks: Iterator[Tick], run: Run) -> Iterator[Tick]:
        return shown(ticks, run, f"{label} at {rate:g}")

    return track


def _trials(before: dict[str, Any], same: dict[str, Any]) -> list[sweep.Trial]:
    """Return the trials of the same runs that were kept."""
    try:
        alike = before["asked"] == json.loads(json.dumps(same))
        return [sweep.Trial(**trial) for trial in before["trials"]] if alike else []
    except (KeyError, TypeError):
        return []


def _kept(path: Path) -> dict[str, Any]:
    try:
        methods = json.loads(path.read_text(encoding="utf-8"))["methods"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return methods if isinstance(methods, dict) else {}
