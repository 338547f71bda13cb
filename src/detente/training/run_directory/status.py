"""Read the status of a run from its directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import yaml

from detente.training.run_directory.directory import TEMPORARY_CONFIG
from detente.training.run_directory.lock import FILE as LOCK

NOT_OPTIONS = (
    "versions",
    "machine",
    "command",
    "folder",
    "data",
    "code",
    "ranks",
    "launch",
)  # other keys of a run.yaml
RunStatus = Literal["absent", "finished", "unfinished", "other"]


def run_status(directory: Path, configuration: dict[str, Any]) -> RunStatus:
    """Return the status of a run in a directory; "other" if the directory contains anything but this run."""
    if not directory.exists() or (
        directory.is_dir() and all(file.name in (TEMPORARY_CONFIG, LOCK) for file in directory.iterdir())
    ):
        return "absent"
    try:
        content = yaml.safe_load((directory / "run.yaml").read_text(encoding="utf-8"))
        recorded, requested = (
            {k: v for k, v in run.items() if v not in (None, [])} for run in (content, configuration)
        )
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        return "other"
    if {key: value for key, value in recorded.items() if key not in NOT_OPTIONS} != requested:
        return "other"
    try:
        seeds = json.loads((directory / "status.json").read_text(encoding="utf-8"))["seeds"].values()
        finished = [seed["status"] in ("finished", "diverged") for seed in seeds]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "unfinished"
    return "finished" if finished and all(finished) else "unfinished"
