"""The progress of a training, from its run directory."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunProgress:
    """The progress of a training.

    Args:
        step: steps of the seed that has taken the most.
        seconds: seconds of the seed that has taken the most.
        diverged: seeds that diverged.
        ended: whether every seed has finished or diverged.
        fallback_reason: why steps ran eagerly although another way was requested; empty otherwise.
    """

    step: int = 0
    seconds: float = 0.0
    diverged: tuple[int, ...] = ()
    ended: bool = False
    fallback_reason: str = ""


def read_progress(directory: Path) -> RunProgress:
    """Return the progress of the run in a directory; step 0 if it has no readable status."""
    try:
        content = json.loads((directory / "status.json").read_text(encoding="utf-8"))
        seeds = {int(seed): entry for seed, entry in content["seeds"].items()}
        return RunProgress(
            max(int(entry["step"]) for entry in seeds.values()),
            max(float(entry["seconds"]) for entry in seeds.values()),
            tuple(seed for seed, entry in seeds.items() if entry["status"] == "diverged"),
            all(entry["status"] in ("finished", "diverged") for entry in seeds.values()),
            str(content.get("fallback_reason") or ""),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return RunProgress()


def metric_history(directory: Path, metric: str) -> dict[int, list[tuple[int, float]]]:
    """Return the steps and finite values of a metric by seed, in the order of the record; empty without a record."""
    history: dict[int, dict[int, float]] = {}
    try:
        lines = (directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    for line in lines:
        try:
            content = json.loads(line)
            seed, step, value = int(content["seed"]), int(content["step"]), content["metrics"][metric]
        except (ValueError, KeyError, TypeError):  # another line, or one that was cut off
            continue
        if isinstance(value, int | float) and math.isfinite(value):
            history.setdefault(seed, {})[step] = float(value)
    return {seed: sorted(values.items()) for seed, values in history.items()}
