"""What came of an experiment: its claims with their numbers, written down and read back."""

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
    """One claim with the number that was found."""

    sentence: str
    paper: str
    found: Estimate
    holds: bool


@dataclass(frozen=True)
class Outcome:
    """An experiment that was conducted.

    Args:
        name: by which `detente reproduce` knows it.
        profile: its size.
        title: what the figure shows.
        source: paper and figure.
        deviations: from the paper.
        tried: what was tried where a claim does not hold.
        verdicts: its claims with the numbers found.
        seconds: how long it took, less what was there already.
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
        """Write it as JSON."""
        told = json.dumps(asdict(self), indent=1, ensure_ascii=False, default=_plain)
        write_text(path, told + "\n")

    @classmethod
    def read(cls, path: Path) -> Outcome:
        """Return what `write` wrote."""
        told = json.loads(path.read_text(encoding="utf-8"))
        verdicts = tuple(Verdict(**{**one, "found": Estimate(**one["found"])}) for one in told.pop("verdicts"))
        return cls(**{**told, "deviations": tuple(told["deviations"]), "verdicts": verdicts})


def reproduce(experiment: Experiment, profile: str, folder: Path, track: Track) -> Outcome:
    """Conduct an experiment in a folder, and leave there `figure.png` and `outcome.json`.

    Conducted again in the same folder, it goes on from the runs that it finds.
    """
    begun = time.perf_counter()
    size = experiment.size(profile)
    folder.mkdir(parents=True, exist_ok=True)
    findings = experiment.conduct(folder, track, **size)
    figure = Figure(figsize=(9, 6), dpi=110, layout="constrained")
    experiment.draw(findings, figure)
    figure.savefig(folder / "figure.png")
    verdicts = []
    for claim in experiment.claims:
        found = claim.estimate(findings)
        verdicts.append(Verdict(claim.sentence, claim.paper, found, not math.isnan(found.value) and claim.holds(found)))
    outcome = Outcome(
        name_of(type(experiment)),
        profile,
        experiment.title,
        f"{experiment.paper}, {experiment.figure}",
        experiment.deviations,
        experiment.tried,
        tuple(verdicts),
        round(time.perf_counter() - begun, 1),
    )
    outcome.write(folder / "outcome.json")
    return outcome


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} in an outcome")
