"""Settings that all runs of a comparison share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from detente.comparison.budget import Budget
from detente.errors import InvalidValue, require, unknown
from detente.training.run_directory.directory import write_text

SEEDS = tuple(range(10))
TRIAL_SEEDS = (1000, 1001, 1002)  # of sweeps and searches: nothing is selected with the seeds of a comparison


@dataclass(frozen=True)
class ComparisonConfig:
    """Settings that all runs of a comparison share.

    Args:
        baseline: directory name of the run that the others are tested against.
        budget: limit for each seed; None if the number of steps is the limit.
    """

    baseline: str
    budget: Budget | None = None

    def write(self, path: Path) -> None:
        """Write the configuration to a file for the report; its folder is created if needed.

        Raises:
            InvalidValue: the folder is a run directory, or is not writable.
        """
        folder = path.parent
        require(not (folder / "run.yaml").exists(), "out", str(folder), "a folder for runs, not a run directory")
        content = {"baseline": self.baseline, "budget": str(self.budget) if self.budget else None}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
        except OSError as error:
            allowed = "a folder that can be written to"
            raise InvalidValue("out", str(folder), allowed, error.strerror or "") from error


def baseline_label(baseline: str | None, labels: Sequence[str]) -> str:
    """Return the label of the baseline. Default: the first run.

    Raises:
        InvalidValue: no run has this name.
    """
    if baseline is None:
        return labels[0]
    if run_label(baseline) not in labels:
        raise unknown("baseline", baseline, labels)
    return run_label(baseline)


def run_label(method: str) -> str:
    """Return the name of a method's run directory; characters other than letters, digits and `_-.=,` become hyphens."""
    return "".join(letter if letter.isalnum() or letter in "_-.=," else "-" for letter in method)
