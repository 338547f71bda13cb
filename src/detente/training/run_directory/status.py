"""How far a run has come in its directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import yaml

from detente.training.run_directory.directory import STARTED
from detente.training.run_directory.lock import FILE as LOCK

NOT_OPTIONS = ("versions", "machine", "command", "folder", "data", "code")  # what else a run.yaml holds
RunStatus = Literal["absent", "finished", "unfinished", "other"]


def run_status(directory: Path, described: dict[str, Any]) -> RunStatus:
    """Return the status of a run in a directory; `other` if the directory holds anything but this run."""
    if not directory.exists() or (
        directory.is_dir() and all(file.name in (STARTED, LOCK) for file in directory.iterdir())
    ):
        return "absent"
    try:
        content = yaml.safe_load((directory / "run.yaml").read_text(encoding="utf-8"))
        recorded, requested = ({k: v for k, v in run.items() if v is not None} for run in (content, described))
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
