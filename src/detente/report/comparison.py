"""What a comparison's folder says about itself: its baseline, its budget, and how learning rates were chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import yaml

from detente.report.pairs import Pair, pairs
from detente.report.run import Run

FILE, TUNING = "comparison.yaml", "tuning.json"


@final
@dataclass(frozen=True)
class Comparison:
    """A folder of runs that were made to be compared.

    Args:
        folder: where they lie.
        baseline: name of the run's folder that the others are held against.
        budget: what every seed could use up, in words; empty where none was named.
        tuning: by name of the run's folder, how its learning rate was chosen.
    """

    folder: Path
    baseline: str
    budget: str = ""
    tuning: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Against:
    """Runs against the baseline of their comparison.

    Args:
        comparison: what the folder says.
        baseline: the baseline's position.
        pairs: for every metric, as `standings` orders them, each other run's pair by its position.
    """

    comparison: Comparison
    baseline: int
    pairs: tuple[Mapping[int, Pair], ...]

    @property
    def tests(self) -> int:
        """How many tests there are, for which each is corrected."""
        return sum(pair.difference is not None for told in self.pairs for pair in told.values())


def read_comparison(paths: Sequence[Path]) -> Comparison | None:
    """Return what the first of the paths that is a comparison's folder says; None where none can be read."""
    for path in map(Path, paths):
        content = _mapping(path / FILE)
        if isinstance(content.get("baseline"), str):
            told = _mapping(path / TUNING).get("methods")
            tuning = {str(k): v for k, v in told.items() if isinstance(v, dict)} if isinstance(told, dict) else {}
            return Comparison(path.resolve(), content["baseline"], str(content.get("budget") or ""), tuning)
    return None


def against(runs: Sequence[Run], paths: Sequence[Path]) -> Against | None:
    """Return the runs of a comparison against its baseline; None where there is none, or its baseline is not there."""
    comparison = read_comparison(paths)
    if comparison is None:
        return None
    here = [index for index, run in enumerate(runs) if run.path.resolve().parent == comparison.folder]
    first = [index for index in here if runs[index].path.name == comparison.baseline]
    if not first or len(here) < 2:
        return None
    return Against(comparison, first[0], tuple(pairs(runs, first[0], here)))


def _mapping(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
