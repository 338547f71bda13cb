"""Runs an experiment, and writes and reads its outcome: the claims with their numbers."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from detente.experiments.base import Experiment, Track
from detente.experiments.support.interval_estimate import Estimate
from detente.registry import name_of
from detente.training.run_directory.record import write_text


@dataclass(frozen=True)
class Verdict:
    """One claim with its measured number."""

    sentence: str
    paper: str
    found: Estimate
    holds: bool


@dataclass(frozen=True)
class Outcome:
    """The outcome of an experiment.

    Args:
        name: name of the experiment for `detente reproduce`.
        profile: profile that was run.
        title: what the figure shows.
        source: paper and figure.
        deviations: deviations from the paper.
        tried: what was tried about claims that do not hold.
        verdicts: the claims with their measured numbers.
        seconds: duration of the last call, which reuses finished runs.
    """

    name: str
    profile: str
    title: str
    source: str
    deviations: tuple[str, ...]
    tried: str
    verdicts: tuple[Verdict, ...]
    seconds: float

    def write(self, path: Path) -> None:
        """Write the outcome as JSON."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False, default=_to_plain)
        write_text(path, text + "\n")

    @classmethod
    def read(cls, path: Path) -> Outcome:
        """Read an outcome that `write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        verdicts = tuple(
            Verdict(**{**verdict, "found": Estimate(**verdict["found"])}) for verdict in content.pop("verdicts")
        )
        return cls(**{**content, "deviations": tuple(content["deviations"]), "verdicts": verdicts})


def reproduce(experiment: Experiment, profile: str, folder: Path, track: Track) -> Outcome:
    """Conduct an experiment in a folder, and write `figure.png` and `outcome.json` there.

    A second call with the same folder continues the runs in it.
    """
    start = time.perf_counter()
    size = experiment.size(profile)
    folder.mkdir(parents=True, exist_ok=True)
    findings = experiment.conduct(folder, track, **size)
    figure = Figure(figsize=(9, 6), dpi=110, layout="constrained")
    experiment.draw(findings, figure)
    figure.savefig(folder / "figure.png")
    verdicts = []
    for claim in experiment.claims:
        estimate = claim.estimate(findings)
        verdicts.append(
            Verdict(claim.sentence, claim.paper, estimate, not math.isnan(estimate.value) and claim.holds(estimate))
        )
    outcome = Outcome(
        name_of(type(experiment)),
        profile,
        experiment.title,
        f"{experiment.paper}, {experiment.figure}",
        experiment.deviations,
        experiment.tried,
        tuple(verdicts),
        round(time.perf_counter() - start, 1),
    )
    outcome.write(folder / "outcome.json")
    return outcome


def _to_plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} in an outcome")
