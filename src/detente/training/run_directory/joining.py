"""Merge run directories of single seeds into the one that a run with all seeds writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from detente.training.run import Run
from detente.training.run_directory import checkpoint
from detente.training.run_directory.directory import PARTS, PICTURE_FOLDERS, write_text
from detente.training.run_directory.scores import read_entries, write_entries

EVENTS = "events"  # TensorBoard's files, one or more for each seed


def part_directory(directory: Path, seed: int) -> Path:
    """Return the run directory of one seed of a run that is split."""
    return directory / PARTS / f"seed{seed}"


def is_split(directory: Path) -> bool:
    """Return whether a directory holds a run whose seeds are trained one by one, and not joined yet."""
    return (directory / PARTS).is_dir() and not (directory / "run.yaml").exists()


def join_seeds(run: Run, directory: Path) -> None:
    """Join the finished parts of a run in its directory, and remove them.

    Lines, statuses and tensors are keyed by seed, so the result is the record that the run with all seeds writes. The
    file run.yaml is written last: if this is interrupted, it can be called again.

    Args:
        run: the run with all its seeds.
        directory: its directory, with a finished part for each seed.
    """
    parts = {seed: part_directory(directory, seed) for seed in run.seeds}
    _join_lines(directory, parts)
    entries: dict[str, Any] = {}
    for part in parts.values():
        entries = {**read_entries(part), **entries}
    write_entries(directory, entries)
    for part in parts.values():
        for name in (*PICTURE_FOLDERS, EVENTS):
            if (part / name).is_dir():
                shutil.copytree(part / name, directory / name, dirs_exist_ok=True)
    progress = [
        checkpoint.load(part / "checkpoints", replace(run, seeds=(seed,), warm_start=None))[0]
        for seed, part in parts.items()
    ]
    checkpoint.save(directory / "checkpoints", progress, getattr(run.game, "layouts", None))
    statuses = [json.loads((part / "status.json").read_text(encoding="utf-8")) for part in parts.values()]
    seeds = {seed: entry for status in statuses for seed, entry in status["seeds"].items()}
    executions = ", ".join(dict.fromkeys(status["execution"] for status in statuses))
    execution = executions + (", each seed separately" if len(parts) > 1 else "")
    status = {**statuses[0], "seeds": seeds, "execution": execution}
    write_text(directory / "status.json", json.dumps(status, indent=1))
    content = yaml.safe_load((next(iter(parts.values())) / "run.yaml").read_text(encoding="utf-8"))
    content["seeds"] = list(run.seeds)
    write_text(directory / "run.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    shutil.rmtree(directory / PARTS)


def _join_lines(directory: Path, parts: Mapping[int, Path]) -> None:
    """Write the lines of all parts in the order of a run with all seeds: by step, then by seed."""
    lines: list[tuple[int, int, str]] = []
    for position, part in enumerate(parts.values()):
        for line in (part / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
            lines.append((json.loads(line)["step"], position, line))
    lines.sort(key=lambda entry: entry[:2])
    write_text(directory / "metrics.jsonl", "".join(f"{line}\n" for _, _, line in lines))
