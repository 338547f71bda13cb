"""Runs an experiment, and writes and reads its outcome: the claims with their numbers and decisions."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from detente.deprecated import lookup
from detente.experiments.base import Experiment, Findings, Track
from detente.experiments.support.code_hash import code_hash
from detente.experiments.support.interval_estimate import Decision, Estimate
from detente.experiments.support.seeds import FIRST_SEED, SeedFolder, Stopwatch, stop_at
from detente.registry import name_of
from detente.training.run_directory.directory import write_text

# Conducts seeds of a folder; its last two arguments are what `prepare` returned, and how progress is shown.
Conduct = Callable[[SeedFolder, Sequence[int], dict[str, Any], Track], None]


@dataclass(frozen=True)
class DecidedClaim:
    """One claim with its measured number.

    Args:
        sentence: the claim.
        paper: the paper's own number.
        measured: the measured number with its interval.
        rule: what the number must be for the claim to hold.
        decision: whether the claim holds, is refuted, or is undecided.
    """

    sentence: str
    paper: str
    measured: Estimate
    rule: str
    decision: Decision


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
        claims: the claims with their measured numbers.
        seconds: duration of all sessions of work.
        code: hash of the code of the claims, see `code_hash`.
        seeds: the seeds that were conducted; empty for an experiment without seeds.
    """

    name: str
    profile: str
    title: str
    source: str
    deviations: tuple[str, ...]
    tried: str
    claims: tuple[DecidedClaim, ...]
    seconds: float
    code: str = ""
    seeds: tuple[int, ...] = ()

    @property
    def undecided(self) -> int:
        """Number of claims that are undecided."""
        return sum(claim.decision == "undecided" for claim in self.claims)

    def write(self, path: Path) -> None:
        """Write the outcome as JSON, without the observations."""
        content = asdict(self)
        for claim in content["claims"]:
            del claim["measured"]["observations"]
        content["seeds"] = ", ".join(map(str, self.seeds))
        write_text(path, json.dumps(content, indent=1, ensure_ascii=False, default=_to_plain) + "\n")

    @classmethod
    def read(cls, path: Path) -> Outcome:
        """Read an outcome that `write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        claims = [_renamed(claim, found="measured") for claim in _renamed(content, verdicts="claims").pop("claims")]
        claims = tuple(DecidedClaim(**{**claim, "measured": Estimate(**claim["measured"])}) for claim in claims)
        seeds = tuple(map(int, filter(None, content.pop("seeds").split(", "))))
        return cls(**{**content, "deviations": tuple(content["deviations"]), "claims": claims, "seeds": seeds})


def _renamed(content: dict[str, Any], **names: str) -> dict[str, Any]:
    """Rename keys of an earlier release, in place."""
    for old, new in names.items():
        if old in content:
            content[new] = content.pop(old)
    return content


def conduct_here(folder: SeedFolder, seeds: Sequence[int], prepared: dict[str, Any], track: Track) -> None:
    """Conduct seeds one after the other in this process."""
    for seed in seeds:
        folder.conduct(seed, prepared, track)


def reproduce(experiment: Experiment, profile: str, folder: Path, track: Track) -> Outcome:
    """Conduct an experiment with its profile's number of seeds, and return its outcome; see `blocks_of_seeds`."""
    count = experiment.size(profile).get("seeds", 1)
    *_, outcome = blocks_of_seeds(experiment, profile, folder, track, False, count, count)
    return outcome


def blocks_of_seeds(
    experiment: Experiment,
    profile: str,
    folder: Path,
    track: Track,
    until_decided: bool,
    block: int,
    most_seeds: int,
    conduct: Conduct = conduct_here,
    deadline: float | None = None,
) -> Iterator[Outcome]:
    """Add seeds to an experiment in blocks, and yield the outcome so far, if there is one, and that after each block.

    Each time `figure.png`, `outcome.json` and `seeds.jsonl` are written. A second call with the same folder continues
    what is in it. If a block is interrupted, the outcome of its finished seeds is written.

    Args:
        experiment: the experiment; one without seeds is conducted once.
        profile: its profile.
        folder: its folder.
        track: shows progress.
        until_decided: stop when every claim is decided.
        block: seeds in a block.
        most_seeds: stop at this number of seeds.
        conduct: conducts seeds.
        deadline: time (of `time.time`) at which `OutOfTime` is raised.

    Raises:
        InvalidValue: the folder has results of another profile or of other code.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if "seeds" not in experiment.size(profile):
        yield _stored(experiment, profile, folder, ()) or _conduct_once(experiment, profile, folder, track, deadline)
        return
    store = SeedFolder(experiment, profile, folder)
    finished = tuple(result.seed for result in store.results())
    outcome = _stored(experiment, profile, folder, finished) or (_conclude_seeds(store) if finished else None)
    while True:
        if outcome is not None:
            yield outcome
            if len(outcome.seeds) >= most_seeds or (until_decided and outcome.undecided == 0):
                return
        finished = tuple(result.seed for result in store.results())
        free = (seed for seed in itertools.count(FIRST_SEED) if seed not in finished)
        seeds = list(itertools.islice(free, min(block, most_seeds - len(finished))))
        tracked = stop_at(deadline, track)
        try:
            with Stopwatch(folder):
                prepared = experiment.prepare(folder / "prepared", tracked, **store.size)
                conduct(store, seeds, prepared, tracked)
        finally:
            if len(store.results()) > len(finished):
                outcome = _conclude_seeds(store)


def _conduct_once(experiment: Experiment, profile: str, folder: Path, track: Track, deadline: float | None) -> Outcome:
    size = experiment.size(profile)
    with Stopwatch(folder):
        findings = experiment.conduct(folder, stop_at(deadline, track), **size)
    estimates = [claim.estimate(findings) for claim in experiment.claims]
    return _conclude(experiment, profile, folder, findings, estimates, ())


def _stored(experiment: Experiment, profile: str, folder: Path, seeds: tuple[int, ...]) -> Outcome | None:
    """Return the outcome in a folder if it is that of these seeds and of this code."""
    if not (folder / "outcome.json").exists():
        return None
    outcome = Outcome.read(folder / "outcome.json")
    return outcome if (outcome.code, outcome.seeds) == (code_hash(type(experiment), profile), seeds) else None


def _conclude_seeds(store: SeedFolder) -> Outcome:
    write_text(store.folder / "seeds.jsonl", "".join(path.read_text(encoding="utf-8") for path in store.paths()))
    seeds = tuple(result.seed for result in store.results())
    return _conclude(store.experiment, store.profile, store.folder, store.findings(), store.estimates(), seeds)


def _conclude(
    experiment: Experiment,
    profile: str,
    folder: Path,
    findings: Findings | None,
    estimates: list[Estimate],
    seeds: tuple[int, ...],
) -> Outcome:
    """Draw the figure, unless there are no findings, and write and return the outcome."""
    if findings is not None:
        figure = Figure(figsize=(9, 6), dpi=110, layout="constrained")
        experiment.draw(findings, figure)
        figure.savefig(folder / "figure.png")
    claims = [
        DecidedClaim(claim.sentence, claim.paper, estimate, str(claim.rule), claim.rule.decide(estimate))
        for claim, estimate in zip(experiment.claims, estimates, strict=True)
    ]
    outcome = Outcome(
        name_of(type(experiment)),
        profile,
        experiment.title,
        f"{experiment.paper}, {experiment.figure}",
        experiment.deviations,
        experiment.tried,
        tuple(claims),
        round(Stopwatch(folder).earlier_seconds, 1),
        code_hash(type(experiment), profile),
        seeds,
    )
    outcome.write(folder / "outcome.json")
    return outcome


def _to_plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} in an outcome")


__getattr__ = lookup(__name__)
