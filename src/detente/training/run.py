"""A training as typed data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from detente.errors import InvalidValue, require
from detente.game import EvaluationSettings, Game, Precision
from detente.methods.method import Method
from detente.training.settings import require_supported
from detente.training.step import Compile

Moment = tuple[int, float]  # steps taken, seconds they took
TIMES = {"record": 200, "measure": 20, "checkpoint": 10}  # about how often in a run, unless it says otherwise

MANY = 20_000  # steps whose tellings are kept in memory before they are averaged, however long they take


@dataclass(frozen=True)
class Run:
    """Everything that decides what a training does.

    Args:
        game: who plays, on what data; a name from `detente list games`.
        method: how they are trained; a name from `detente list methods` (command line: alternating by default).
        steps: how many steps each seed takes, ≥ 1.
        seconds: end after so many seconds of each seed's steps, > 0, if `steps` are not taken before.
        seeds: one training each, of everything random: initial parameters, batches, latents, noise.
        record_every: steps between two lines of the record; default about 200 lines.
        measure_every: steps between two measurements with samples; default about 20 measurements.
        checkpoint_every: steps between two checkpoints; default about 10 checkpoints.
        samples: how many generated samples a measurement looks at, ≥ 1.
        compile: compile the step: "on", "off", or "auto": on for many steps of small networks.
        device: where to train: "cpu", "cuda" or "cuda:1".
        threads: processor threads; default one for small networks, which more only slow down, else all.
        precision: of the networks' matrix products and convolutions: "float32", or "bfloat16" (autocast).
        accumulate: see a batch in so many parts, one after the other, and take the mean of their gradients, ≥ 1:
            about so many times less memory.
        channels_last: let images lie in memory pixel by pixel, which is quicker on most graphics processors.
    """

    game: Game
    method: Method
    steps: int = 2000
    seeds: tuple[int, ...] = (0,)
    record_every: int | None = None
    measure_every: int | None = None
    checkpoint_every: int | None = None
    samples: int = 2048
    compile: Compile = "auto"
    device: str = "cpu"
    threads: int | None = None
    seconds: float | None = None
    precision: Precision = "float32"
    accumulate: int = 1
    channels_last: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "samples"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "an integer ≥ 1")
        for name in ("record_every", "measure_every", "checkpoint_every"):
            every = getattr(self, name)
            require(every is None or every >= 1, name, every, "an integer ≥ 1, or nothing for the default")
        finite = self.seconds is None or (math.isfinite(self.seconds) and self.seconds > 0)
        require(finite, "seconds", self.seconds, "a finite number > 0, or nothing")
        require(self.threads is None or self.threads >= 1, "threads", self.threads, "an integer ≥ 1, or nothing")
        require(len(self.seeds) > 0, "seeds", self.seeds, "at least one integer ≥ 0")
        require(all(0 <= seed < 2**32 for seed in self.seeds), "seeds", self.seeds, "integers ≥ 0, below 2³²")
        require(len(set(self.seeds)) == len(self.seeds), "seeds", self.seeds, "each seed once")
        require(self.compile in ("auto", "on", "off"), "compile", self.compile, "'auto', 'on' or 'off'")
        self.method.check(self.game)
        require_supported(self.settings, self.game, self.method)
        _require_device(self.device)

    @property
    def settings(self) -> EvaluationSettings:
        """How the game is evaluated."""
        return EvaluationSettings(self.precision, self.accumulate, self.channels_last)

    def every(self, event: str) -> int:
        """Return the steps between two of `event`: "record", "measure" or "checkpoint"."""
        return getattr(self, f"{event}_every") or max(1, self.steps // TIMES[event])

    def next_event_step(self, step: int) -> int:
        """Return the step at which, counting steps alone, there is next something to write down or to measure."""
        following = [(step // every + 1) * every for every in map(self.every, ("record", "measure"))]
        return min(self.steps, *following, *([] if self.seconds is None else [step + MANY]))

    def event_between(self, event: str, before: Moment, now: Moment) -> bool:
        """Return whether one of `event` falls between two moments: by its steps, or by its share of the seconds."""
        every = self.every(event)
        if now[0] // every > before[0] // every:
            return True
        if self.seconds is None or getattr(self, f"{event}_every") is not None:
            return False
        share = self.seconds / TIMES[event]
        return now[1] // share > before[1] // share

    def has_event_between(self, before: Moment, now: Moment) -> bool:
        """Return whether there is something to write down or to measure between two moments."""
        return (
            self.is_over(now) or self.event_between("record", before, now) or self.event_between("measure", before, now)
        )

    def until(self, steps: int | None = None, seconds: float | None = None) -> Run:
        """Return the run with another end; intervals that follow from the number of steps stay as they were."""
        # With a time limit, the intervals follow from the seconds.
        every = {} if self.seconds else {f"{event}_every": self.every(event) for event in TIMES}
        steps, seconds = self.steps if steps is None else steps, self.seconds if seconds is None else seconds
        return replace(self, steps=steps, seconds=seconds, **every)

    def is_over(self, now: Moment) -> bool:
        """Return whether a training that has come so far is at its end."""
        return now[0] >= self.steps or (self.seconds is not None and now[1] >= self.seconds)


def _require_device(device: str) -> None:
    allowed = "'cpu'" + ("".join(f", 'cuda:{i}'" for i in range(torch.cuda.device_count())))
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvalidValue("device", device, f"{allowed} on this machine") from error
