"""A comparison's folder: its baseline, its budget, its tuned learning rates, and each run against the baseline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import yaml

from detente.report.paired_differences import PairedDifference, paired_differences
from detente.report.recorded_run import RecordedRun

FILE, TUNING = "comparison.yaml", "tuning.json"


@final
@dataclass(frozen=True)
class Comparison:
    """A folder of runs that were trained to be compared.

    Args:
        folder: path of the folder.
        baseline: name of the folder of the run with which the others are compared.
        budget: the most that every seed could use, e.g. ``60 seconds``; empty if none was set.
        tuning: how each learning rate was chosen, by name of the run's folder.
    """

    folder: Path
    baseline: str
    budget: str = ""
    tuning: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class BaselineComparison:
    """The runs of a comparison against its baseline.

    Args:
        comparison: the comparison's folder.
        baseline: position of the baseline among the runs.
        pairs: for every metric in the order of `rankings`, the difference of each other run by its position.
    """

    comparison: Comparison
    baseline: int
    pairs: tuple[Mapping[int, PairedDifference], ...]

    @property
    def tests(self) -> int:
        """Number of tests; every p-value is corrected for it."""
        return sum(pair.difference is not None for row in self.pairs for pair in row.values())


def read_comparison(paths: Sequence[Path]) -> Comparison | None:
    """Return the comparison in the first of the paths that is a comparison's folder, or None if there is none."""
    for path in map(Path, paths):
        content = _read_mapping(path / FILE)
        if isinstance(content.get("baseline"), str):
            methods = _read_mapping(path / TUNING).get("methods")
            sweeps = methods if isinstance(methods, dict) else {}
            tuning = {str(name): sweep for name, sweep in sweeps.items() if isinstance(sweep, dict)}
            return Comparison(path.resolve(), content["baseline"], str(content.get("budget") or ""), tuning)
    return None


def compare_to_baseline(runs: Sequence[RecordedRun], paths: Sequence[Path]) -> BaselineComparison | None:
    """Return the runs of a comparison against its baseline, or None if there is no comparison or no baseline."""
    comparison = read_comparison(paths)
    if comparison is None:
        return None
    members = [index for index, run in enumerate(runs) if run.path.resolve().parent == comparison.folder]
    baselines = [index for index in members if runs[index].path.name == comparison.baseline]
    if not baselines or len(members) < 2:
        return None
    baseline = baselines[0]
    return BaselineComparison(comparison, baseline, tuple(paired_differences(runs, baseline, members)))


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
