"""Reading run directories: tolerant of what a crash leaves behind, and honest about what it could not read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from detente.errors import InvalidValue
from detente.report.run import Metric, Run, SeedStatus, Tick
from detente.training.run_directory.lock import holder_of

MARKS: Final = ("run.yaml", "metrics.jsonl")
GROUPS: Final = ("metrics", "losses", "gradient_norm")


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Return the run directories that `paths` are or directly hold, in order, each once.

    Raises:
        InvalidValue: when a path is no folder, or neither is a run directory nor holds one.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise InvalidValue("paths", str(path), "a run directory or a folder of run directories")
        here = [path] if _is_run(path) else sorted(child for child in path.iterdir() if _is_run(child))
        if not here:
            hint = "A run directory holds run.yaml and metrics.jsonl; train first, then report"
            raise InvalidValue("paths", str(path), "a run directory or a folder of run directories", hint)
        found.update((run.resolve(), None) for run in here)
    if not found:
        raise InvalidValue("paths", [], "at least one run directory")
    return list(found)


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Return every run that `paths` are or hold; equal folder names get their parent's name in front."""
    folders = find_runs(paths)
    names = [folder.name for folder in folders]
    shown = [f"{f.parent.name}/{f.name}" if names.count(f.name) > 1 else f.name for f in folders]
    return [read_run(folder, name) for folder, name in zip(folders, shown, strict=True)]


def read_run(path: Path, name: str) -> Run:
    """Return the run in `path`; what is missing or broken is left out and said so in `notes`."""
    notes: list[str] = []
    configuration = _mapping(_load(path / "run.yaml", notes))
    status = _mapping(_load(path / "status.json", notes))
    shown = _mapping(_load(path / "metrics.json", notes))
    ticks = _read_ticks(path / "metrics.jsonl", notes)
    metrics = {key: _metric(key, shown.get(key)) for key in _measured(ticks)}
    seeds = _seeds(_mapping(status.get("seeds")), ticks, alive=holder_of(path) is not None)
    parts = [status.get("device"), _threads(status.get("threads")), status.get("execution")]
    execution = ", ".join(str(part) for part in parts if part)
    return Run(name, path, configuration, seeds, ticks, metrics, execution, tuple(notes))


def _is_run(path: Path) -> bool:
    return path.is_dir() and any((path / mark).is_file() for mark in MARKS)


def _mapping(value: object) -> dict[str, Any]:
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def _threads(count: object) -> str:
    return f"{count} thread{'' if count == 1 else 's'}" if count else ""


def _load(path: Path, notes: list[str]) -> object:
    """Return the parsed file, or None with a note when it is missing or broken."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        return yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
    except FileNotFoundError:
        notes.append(f"{path.name} is missing.")
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        notes.append(f"{path.name} could not be read ({type(error).__name__}).")
    return None


def number(value: object) -> float | None:
    """Return `value` as a finite float, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _read_ticks(path: Path, notes: list[str]) -> dict[int, list[Tick]]:
    if not path.is_file():
        notes.append(f"{path.name} is missing.")
        return {}
    by_seed: dict[int, dict[int, Tick]] = {}
    broken: list[int] = []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for index, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            seed, step = int(record["seed"]), int(record["step"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            broken.append(index)
            continue
        values = {(group, key): number(v) for group in GROUPS for key, v in _mapping(record.get(group)).items()}
        cost, seconds, memory = (number(record.get(k)) for k in ("gradient_evaluations", "seconds", "memory_mib"))
        tick = Tick(step, cost, seconds, values, memory)
        # A resumed run writes the steps after its checkpoint a second time: the later line holds.
        by_seed.setdefault(seed, {})[step] = tick
    if broken:
        where = ", ".join(map(str, broken[:5])) + (", …" if len(broken) > 5 else "")
        notes.append(f"metrics.jsonl: {len(broken)} unreadable line(s) left out (line {where}).")
    return {seed: [ticks[step] for step in sorted(ticks)] for seed, ticks in sorted(by_seed.items())}


def _measured(ticks: Mapping[int, Sequence[Tick]]) -> Iterable[str]:
    return {key: None for line in ticks.values() for tick in line for group, key in tick.values if group == "metrics"}


def _metric(key: str, shown: object) -> Metric:
    entry = _mapping(shown)
    title = entry.get("title") or key.replace("_", " ").capitalize()
    better = entry.get("better")
    return Metric(str(title), str(entry.get("unit") or ""), better if better in ("higher", "lower") else "none")


def _seeds(status: Mapping[str, Any], ticks: Mapping[int, Sequence[Tick]], alive: bool) -> dict[int, SeedStatus]:
    """Return each seed's status; "running" of a run that no process holds means that it was killed: interrupted."""
    said = {int(seed): _mapping(entry) for seed, entry in status.items() if seed.strip().lstrip("-").isdigit()}
    seeds: dict[int, SeedStatus] = {}
    for seed in sorted(set(said) | set(ticks)):
        entry, last = said.get(seed, {}), (ticks.get(seed) or [None])[-1]
        step = int(number(entry.get("step")) or (last.step if last else 0))
        seconds = number(entry.get("seconds"))
        seconds = seconds if seconds is not None else (last.seconds if last else None)
        name, at = str(entry.get("status") or "unknown"), number(entry.get("diverged_at"))
        at = step if at is None else int(at)
        name = "interrupted" if name == "running" and not alive else name
        seeds[seed] = SeedStatus(name, step, seconds, at if name == "diverged" else None)
    return seeds
