"""Reading run directories. What a crash left missing or broken is skipped and listed in the run's notes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml

from detente.errors import InvalidValue
from detente.report.recorded_run import GROUPS, RecordedMetric, RecordedRun, RecordedTick, SeedStatus
from detente.training.run_directory.lock import holder_of

RUN_FILES: Final = ("run.yaml", "metrics.jsonl")
PARTS: Final = "parts"  # folder with one run directory for each seed of a run that is not joined yet


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Return the run directories among `paths` and directly inside them, in order, each once.

    Raises:
        InvalidValue: a path is not a folder, or neither is a run directory nor contains one.
    """
    directories: dict[Path, None] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise InvalidValue("paths", str(path), "a run directory or a folder of run directories")
        runs = [path] if _is_run(path) else sorted(child for child in path.iterdir() if _is_run(child))
        if not runs:
            hint = "A run directory contains run.yaml and metrics.jsonl; train first, then report"
            raise InvalidValue("paths", str(path), "a run directory or a folder of run directories", hint)
        directories.update((run.resolve(), None) for run in runs)
    if not directories:
        raise InvalidValue("paths", [], "at least one run directory")
    return list(directories)


def read_runs(paths: Sequence[Path]) -> list[RecordedRun]:
    """Return every run in `paths`. Runs with equal folder names are prefixed with the name of the parent folder."""
    folders = find_runs(paths)
    names = [folder.name for folder in folders]
    unique = [f"{f.parent.name}/{f.name}" if names.count(f.name) > 1 else f.name for f in folders]
    return [read_run(folder, name) for folder, name in zip(folders, unique, strict=True)]


def read_run(path: Path, name: str) -> RecordedRun:
    """Return the run in `path`; missing or broken parts are left out and listed in `notes`."""
    if not _has_files(path) and (parts := _parts(path)):
        return _join([read_run(part, name) for part in parts], path)
    notes: list[str] = []
    configuration = _mapping(_load(path / "run.yaml", notes))
    status = _mapping(_load(path / "status.json", notes))
    descriptions = _mapping(_load(path / "metrics.json", notes))
    identities = {key: _identity(key, _mapping(entry)) for key, entry in descriptions.items()}
    ticks = _read_ticks(path / "metrics.jsonl", notes, identities)
    keys = {identity: key for key, identity in identities.items()}
    metrics = {name: _metric(keys.get(name, name), descriptions.get(keys.get(name, name))) for name in _names(ticks)}
    unmeasured = {
        _metric(key, entry).title: str(_mapping(entry)["missing"])
        for key, entry in descriptions.items()
        if "missing" in _mapping(entry)
    }
    seeds = _seeds(_mapping(status.get("seeds")), ticks, alive=holder_of(path) is not None)
    words = [status.get("device"), _threads(status.get("threads")), status.get("execution")]
    execution = ", ".join(str(word) for word in words if word)
    return RecordedRun(name, path, configuration, seeds, ticks, metrics, execution, tuple(notes), unmeasured)


def _is_run(path: Path) -> bool:
    return path.is_dir() and (_has_files(path) or bool(_parts(path)))


def _has_files(path: Path) -> bool:
    return any((path / name).is_file() for name in RUN_FILES)


def _parts(path: Path) -> list[Path]:
    """Return the run directories of single seeds of a run that is not joined yet, in the order of the seeds."""
    parts = path / PARTS
    directories = [part for part in parts.iterdir() if part.is_dir() and _has_files(part)] if parts.is_dir() else []
    return sorted(directories, key=lambda part: (len(part.name), part.name))


def _join(parts: Sequence[RecordedRun], path: Path) -> RecordedRun:
    """Return runs of single seeds as one run."""
    seeds = {seed: status for part in parts for seed, status in part.seeds.items()}
    return replace(
        parts[0],
        path=path,
        configuration={**parts[0].configuration, "seeds": [*seeds]},
        seeds=seeds,
        ticks={seed: ticks for part in parts for seed, ticks in part.ticks.items()},
        metrics={name: metric for part in reversed(parts) for name, metric in part.metrics.items()},
        notes=tuple(f"{part.path.name}: {note}" for part in parts for note in part.notes),
        unmeasured={name: reason for part in parts for name, reason in part.unmeasured.items()},
    )


def _mapping(value: object) -> dict[str, Any]:
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def _threads(count: object) -> str:
    return f"{count} thread{'' if count == 1 else 's'}" if count else ""


def _load(path: Path, notes: list[str]) -> object:
    """Return the parsed file, or None with a note if it is missing or broken."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        return yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
    except FileNotFoundError:
        notes.append(f"{path.name} is missing.")
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        notes.append(f"{path.name} could not be read ({type(error).__name__}).")
    return None


def _finite(value: object) -> float | None:
    """Return `value` as a float, or None if it is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _identity(key: str, description: Mapping[str, Any]) -> str:
    """Return the name of a metric with its stamp: the same in every run that measured it in the same way."""
    stamp = _stamp(description)
    return f"{description.get('metric', key)} {json.dumps(stamp, sort_keys=True)}" if stamp else key


def _stamp(description: Mapping[str, Any]) -> dict[str, str | int]:
    entries = _mapping(description.get("stamp")).items()
    return {key: value for key, value in entries if isinstance(value, str | int) and not isinstance(value, bool)}


def _read_ticks(path: Path, notes: list[str], identities: Mapping[str, str]) -> dict[int, list[RecordedTick]]:
    if not path.is_file():
        notes.append(f"{path.name} is missing.")
        return {}
    by_seed: dict[int, dict[int, RecordedTick]] = {}
    broken: list[int] = []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for line_number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            seed, step = int(record["seed"]), int(record["step"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            broken.append(line_number)
            continue
        values = {
            (group, identities.get(key, key) if group == "metrics" else key): _finite(value)
            for group in GROUPS
            for key, value in _mapping(record.get(group)).items()
        }
        cost, seconds, memory = (_finite(record.get(k)) for k in ("gradient_evaluations", "seconds", "memory_mib"))
        # A resumed run writes the steps after its checkpoint a second time; the later line counts.
        by_seed.setdefault(seed, {})[step] = RecordedTick(step, cost, seconds, values, memory)
    if broken:
        numbers = ", ".join(map(str, broken[:5])) + (", …" if len(broken) > 5 else "")
        notes.append(f"metrics.jsonl: {len(broken)} unreadable line(s) skipped (line {numbers}).")
    return {seed: [ticks[step] for step in sorted(ticks)] for seed, ticks in sorted(by_seed.items())}


def _names(ticks: Mapping[int, Sequence[RecordedTick]]) -> Iterable[str]:
    return {key: None for line in ticks.values() for tick in line for group, key in tick.values if group == "metrics"}


def _metric(key: str, description: object) -> RecordedMetric:
    entry = _mapping(description)
    title = entry.get("title") or key.replace("_", " ").capitalize()
    better = entry.get("better")
    better = better if better in ("higher", "lower") else "none"
    return RecordedMetric(str(title), str(entry.get("unit") or ""), better, _stamp(entry))


def _seeds(
    entries: Mapping[str, Any], ticks: Mapping[int, Sequence[RecordedTick]], alive: bool
) -> dict[int, SeedStatus]:
    """Return the status of each seed. A "running" run without a live process was killed, so it is "interrupted"."""
    recorded = {int(seed): _mapping(entry) for seed, entry in entries.items() if seed.strip().lstrip("-").isdigit()}
    seeds: dict[int, SeedStatus] = {}
    for seed in sorted(set(recorded) | set(ticks)):
        entry, last = recorded.get(seed, {}), (ticks.get(seed) or [None])[-1]
        step = int(_finite(entry.get("step")) or (last.step if last else 0))
        seconds = _finite(entry.get("seconds"))
        seconds = seconds if seconds is not None else (last.seconds if last else None)
        status, diverged_at = str(entry.get("status") or "unknown"), _finite(entry.get("diverged_at"))
        diverged_at = step if diverged_at is None else int(diverged_at)
        status = "interrupted" if status == "running" and not alive else status
        diverged, cause = status == "diverged", str(entry.get("cause") or "")
        seeds[seed] = SeedStatus(status, step, seconds, diverged_at if diverged else None, cause if diverged else "")
    return seeds
