"""Seeds of an experiment, conducted one by one; each result is a file, so that nothing is lost when the work stops."""

from __future__ import annotations

import json
import pickle
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from detente.checks.switch import off
from detente.errors import InvalidValue
from detente.experiments.base import Experiment, Findings, Track
from detente.experiments.support.code_hash import code_hash
from detente.experiments.support.interval_estimate import Estimate
from detente.training.run_directory.directory import write_text

FIRST_SEED = 100  # results of before there were confidence sequences used seeds below 50; tuning uses 900 and above
SEEDS_IN_FIGURE = 30
SECONDS_BETWEEN_WRITES = 10.0
T = TypeVar("T")


class OutOfTime(KeyboardInterrupt):
    """The time is spent; trainings save their progress as after Ctrl-C."""


@dataclass(frozen=True)
class SeedResult:
    """What one seed says about each claim.

    Args:
        seed: the seed.
        code: hash of the experiment's code.
        seconds: duration, without that of earlier sittings that were interrupted.
        kinds: kind and unit of each claim's number.
        observations: observations of each claim's number.
    """

    seed: int
    code: str
    seconds: float
    kinds: tuple[tuple[str, str], ...]
    observations: tuple[tuple[float, ...], ...]


class SeedFolder:
    """The results of an experiment's seeds in a folder.

    `seeds/00100.json` is a seed's result and `findings/00100.pkl` its findings, for the figure. While a seed is
    conducted its runs lie in `working/00100`, from which it continues after an interruption.

    Args:
        experiment: the experiment.
        profile: its profile.
        folder: the experiment's folder.

    Raises:
        InvalidValue: the folder has results of another profile or of other code.
    """

    def __init__(self, experiment: Experiment, profile: str, folder: Path) -> None:
        self.experiment, self.profile, self.folder = experiment, profile, folder
        self.size = {name: value for name, value in experiment.size(profile).items() if name != "seeds"}
        self.code = code_hash(type(experiment), profile)
        for result in self.results():
            if result.code != self.code:
                allowed = f"a folder with results of this code and profile ({self.code}, not {result.code})"
                raise InvalidValue("out", str(folder), allowed, "Claims may not change after their results")

    def paths(self) -> list[Path]:
        """Return the files of the results so far, by seed."""
        return sorted(self.folder.glob("seeds/*.json"))

    def results(self) -> list[SeedResult]:
        """Return the results so far, by seed."""
        contents = [json.loads(path.read_text(encoding="utf-8")) for path in self.paths()]
        return [
            SeedResult(
                content["seed"],
                content["code"],
                content["seconds"],
                tuple((kind, unit) for kind, unit in content["kinds"]),
                tuple(map(tuple, content["observations"])),
            )
            for content in contents
        ]

    def estimates(self) -> list[Estimate]:
        """Return each claim's number from all seeds so far."""
        results = self.results()
        return [
            Estimate.of(kind, [number for result in results for number in result.observations[index]], unit)  # pyright: ignore[reportArgumentType]
            for index, (kind, unit) in enumerate(results[0].kinds)
        ]

    def findings(self) -> Findings | None:
        """Return the joined findings of the first seeds; None if only their results were copied here."""
        paths = sorted(self.folder.glob("findings/*.pkl"))[:SEEDS_IN_FIGURE]
        return None if not paths else join([pickle.loads(path.read_bytes()) for path in paths], self.experiment.shared)

    def conduct(self, seed: int, prepared: dict[str, Any], track: Track) -> None:
        """Conduct a seed on one thread, and write its result."""
        start, threads = time.perf_counter(), torch.get_num_threads()
        working = self.folder / "working" / f"{seed:05d}"
        working.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(1)
        try:
            with off():  # the set-ups are the papers'
                findings = self.experiment.conduct(working, track, **self.size, **prepared, seeds=(seed,))
            estimates = [claim.estimate(findings) for claim in self.experiment.claims]
        finally:
            torch.set_num_threads(threads)
        content = {
            "seed": seed,
            "code": self.code,
            "seconds": round(time.perf_counter() - start, 1),
            "kinds": [(estimate.kind, estimate.unit) for estimate in estimates],
            "observations": [estimate.observations for estimate in estimates],
        }
        for name in ("findings", "seeds"):
            (self.folder / name).mkdir(exist_ok=True)
        path = self.folder / "findings" / f"{seed:05d}.pkl"
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(pickle.dumps(findings))
        temporary.replace(path)
        write_text(self.folder / "seeds" / f"{seed:05d}.json", json.dumps(content) + "\n")
        shutil.rmtree(working, ignore_errors=True)


class Stopwatch:
    """Counts the seconds of a sitting, a context, in `sittings.json`; a kill loses at most the last ten.

    Args:
        folder: the experiment's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "sittings.json"
        self.earlier = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else []

    def __enter__(self) -> Stopwatch:
        self.start, self.stopped = time.time(), threading.Event()
        self._write()
        self.thread = threading.Thread(target=self._write_regularly, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join()
        self._write()

    @property
    def earlier_seconds(self) -> float:
        """Seconds of all earlier sittings."""
        return sum(sitting["seconds"] for sitting in self.earlier)

    def _write_regularly(self) -> None:
        while not self.stopped.wait(SECONDS_BETWEEN_WRITES):
            self._write()

    def _write(self) -> None:
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.start))
        sitting = {"started": started, "seconds": round(time.time() - self.start, 1)}
        write_text(self.path, json.dumps([*self.earlier, sitting], indent=1) + "\n")


def stop_at(deadline: float | None, track: Track) -> Track:
    """Return `track`, but `OutOfTime` is raised after the deadline (of `time.time`)."""

    def track_until(items: Iterable[T], name: str, total: int | None = None) -> Iterator[T]:
        for item in track(items, name, total):
            yield item
            check_time(deadline)

    return track_until


def check_time(deadline: float | None) -> None:
    """Raise `OutOfTime` after the deadline (of `time.time`)."""
    if deadline is not None and time.time() > deadline:
        raise OutOfTime


def join(parts: Sequence[Any], shared: Sequence[str] = ()) -> Any:
    """Return findings of several seeds as one: arrays joined along their first axis, other values those of the first.

    Args:
        parts: the findings of each seed, of equal structure.
        shared: names of findings that are the first seed's.
    """
    first = parts[0]
    if isinstance(first, dict):
        return {name: first[name] if name in shared else join([part[name] for part in parts], shared) for name in first}
    if isinstance(first, np.ndarray) and first.ndim:
        return np.concatenate(parts)
    if isinstance(first, list):
        return [item for part in parts for item in part]
    return first
