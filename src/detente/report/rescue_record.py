"""The contents of a rescue's directory. What a crash left missing or broken is left out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from detente.report.recorded_run import RecordedRun
from detente.report.run_directory import read_run

FILE, OBSERVATIONS = "rescue.json", "observations.json"
HEALTHY = "healthy"


@final
@dataclass(frozen=True)
class RecordedPoint:
    """One observation of a run, with the numbers that were finite."""

    step: int
    score: float | None
    quality: Mapping[str, float]
    signals: Mapping[str, float]
    diverged: str = ""


@final
@dataclass(frozen=True)
class Attempt:
    """The user's own set-up, or one cure on trial.

    Args:
        name: the cure in words.
        folder: directory of its run, relative to the rescue's.
        run: its recorded run.
        points: its observations, in order.
        outcome: how it ended, in words.
        cost: its cost in whole runs of the user's own; None if not recorded.
        quality: how close its last samples are to the real ones.
        command: the command that trains it; empty if not recorded.
        python: the Python lines that build it; empty if not recorded.
    """

    name: str
    folder: str
    run: RecordedRun
    points: Sequence[RecordedPoint] = ()
    outcome: str = ""
    cost: float | None = None
    quality: Mapping[str, float] = field(default_factory=dict)
    command: str = ""
    python: str = ""

    @property
    def steps(self) -> int:
        """Number of steps that are recorded."""
        ticks = [tick.step for ticks in self.run.ticks.values() for tick in ticks[-1:]]
        return max([*ticks, *(point.step for point in self.points[-1:])], default=0)

    @property
    def diverged(self) -> str:
        """Why and when its numbers became non-finite; empty if they did not."""
        return next((point.diverged for point in self.points if point.diverged), "")


@final
@dataclass(frozen=True)
class RecordedFinding:
    """What is wrong: as `detente.checks.base.Finding`, and whether cures for it were tried."""

    failure: str
    evidence: str
    certainty: float
    remedy: str
    treated: bool


@final
@dataclass(frozen=True)
class RescueRecord:
    """A rescue as recorded in its directory.

    Args:
        steps: number of steps of a full run.
        budget: the allowed compute, in full runs.
        cost: the used compute, in full runs.
        failures: failures that were treated.
        healthy: whether nothing was wrong.
        cured: whether the best trial's samples are as good as a working GAN's.
        finished: whether the rescue has ended.
        findings: what is wrong, the most certain first.
        own: the user's own set-up.
        trials: the cures, in the order in which they were tried.
        best: the best trial, if one is better than the user's own.
        notes: files that could not be read.
        judgement: the numbers of fresh samples of the best trial, in words.
        faults: why the best trial does not count as a cure.
        conclusion: what to think of a GAN in which nothing is wrong, in one sentence.
    """

    steps: int
    budget: float | None
    cost: float | None
    failures: Sequence[str]
    healthy: bool
    cured: bool
    finished: bool
    findings: Sequence[RecordedFinding]
    untreated: Attempt
    trials: Sequence[Attempt]
    best: Attempt | None
    notes: Sequence[str] = ()
    judgement: str = ""
    faults: Sequence[str] = ()
    conclusion: str = ""

    @property
    def attempts(self) -> list[Attempt]:
        """Everything that was trained in the order of its colours: the best trial, the user's own, the others."""
        best = [self.best] if self.best else []
        return [*best, self.untreated, *(trial for trial in self.trials if trial is not self.best)]


def read_rescue(directory: Path) -> RescueRecord:
    """Return the rescue in a directory."""
    content, notes = _mapping(_load(directory / FILE)), []
    if not content:
        notes.append(f"{FILE} is missing or broken.")
    verdict = str(content.get("verdict") or "")
    failures = [failure for failure in verdict.split(", ") if failure and failure != HEALTHY]
    findings = [_finding(_mapping(entry), failures) for entry in _list(content.get("findings"))]
    untreated = _attempt(directory, {"directory": "before", **_mapping(content.get("before")), "name": "as it was"})
    trials = [_attempt(directory, _mapping(entry)) for entry in _list(content.get("trials"))]
    best = next((trial for trial in trials if trial.name == content.get("best")), None)
    steps = number(content.get("steps"))
    untold = not trials and any((directory / "trials").glob("*/*"))  # they are listed when the rescue ends
    return RescueRecord(
        steps=int(steps) if steps else untreated.steps,
        budget=number(content.get("budget")),
        cost=number(content.get("cost")),
        failures=failures,
        healthy=verdict == HEALTHY,
        conclusion=str(content.get("conclusion") or "This GAN is healthy."),
        cured=content.get("cured") is True and best is not None,
        finished=bool(verdict) and not untold,
        findings=findings,
        untreated=untreated,
        trials=trials,
        best=best,
        notes=notes,
        judgement=str(content.get("judgement") or ""),
        faults=[str(fault) for fault in _list(content.get("faults"))],
    )


def number(value: object) -> float | None:
    """Return a value as a float, or None if it is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _load(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError, RecursionError):
        return None


def _mapping(value: object) -> dict[str, Any]:
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _numbers(value: object) -> dict[str, float]:
    numbers = {key: number(item) for key, item in _mapping(value).items()}
    return {key: item for key, item in numbers.items() if item is not None}


def _finding(entry: Mapping[str, Any], failures: Sequence[str]) -> RecordedFinding:
    failure, evidence, remedy = (str(entry.get(key) or "") for key in ("failure", "evidence", "remedy"))
    return RecordedFinding(failure, evidence, number(entry.get("certainty")) or 0.0, remedy, failure in failures)


def _attempt(directory: Path, entry: Mapping[str, Any]) -> Attempt:
    folder = str(entry.get("directory") or "")
    name, outcome, command, python = (str(entry.get(key) or "") for key in ("name", "outcome", "command", "python"))
    points = _points(_load(directory / folder / OBSERVATIONS)) if folder else []
    last = next((point.quality for point in reversed(points) if point.quality), {})
    quality = _numbers(entry.get("quality")) or last
    run = read_run(directory / folder, name) if folder else RecordedRun(name, directory)
    cost = number(entry.get("cost"))
    return Attempt(name or folder, folder, run, points, outcome, cost, quality, command, python)


def _points(content: object) -> list[RecordedPoint]:
    points = []
    for entry in map(_mapping, _list(content)):
        step = number(entry.get("step"))
        if step is None:
            continue
        diverged = f"diverged at step {entry['diverged_at']}: {entry.get('cause')}" if "diverged_at" in entry else ""
        quality, signals = _numbers(entry.get("quality")), _numbers(entry.get("signals"))
        points.append(RecordedPoint(int(step), number(entry.get("score")), quality, signals, diverged))
    return sorted(points, key=lambda point: point.step)
