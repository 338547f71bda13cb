"""`Run`: the settings of a training run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, get_args

from detente.arguments import Typed
from detente.errors import require
from detente.game import EvaluationSettings, Game, Precision
from detente.loggers.base import Logger
from detente.methods.method import Method
from detente.metrics.base import Metric
from detente.metrics.selection import metrics_by_label
from detente.ranks import BatchNorm
from detente.training.settings import require_device, require_supported
from detente.training.step import Compile
from detente.training.stopping import Stopping

Moment = tuple[int, float]  # number of steps, seconds they took
EVENTS_PER_RUN = {"record": 200, "measure": 20, "checkpoint": 10}  # default number of events in a run

MAX_BUFFERED_STEPS = 20_000  # steps whose infos are kept in memory before they are averaged


@dataclass(frozen=True)
class Run(Typed):
    """Settings of a training run.

    Args:
        game: game with its data; a name from `detente list games`.
        method: training method; a name from `detente list methods`. Default on the command line: alternating.
        steps: number of steps for each seed, ≥ 1.
        seconds: time limit for the steps of each seed (s), > 0. Default: no limit.
        seeds: random seeds of initial parameters, batches, latents and noise; each seed is trained separately.
        record_every: number of steps between records of losses. Default: about 200 records.
        measure_every: number of steps between measurements of metrics. Default: about 20 measurements.
        checkpoint_every: number of steps between checkpoints. Default: about 10 checkpoints.
        samples: number of generated samples for each measurement, ≥ 1.
        compile: compile the step: "on", "off" or "auto". "auto" compiles long runs of small networks.
        device: device to train on: "cpu", "cuda" or "cuda:1".
        threads: number of CPU threads. Default: 1 for small networks, otherwise all cores.
        precision: precision of matrix products and convolutions: "float32" or "bfloat16" (autocast).
        accumulate: number of parts of each batch, ≥ 1. They are evaluated one after the other and their gradients
            averaged, which divides the memory use by about this number.
        channels_last: use the channels-last memory format for images, which is faster on most GPUs.
        metrics: metrics to measure in addition to the fast ones that apply to the game: names from `detente list
            metrics`, such as "fid" or "fid:real=50000"; "my_module.MyMetric"; or objects.
        loggers: services that receive the run's numbers and pictures; names from `detente list loggers`. Default:
            TensorBoard event files in the run directory, if tensorboard is installed.
        stop_when: metric that can stop a seed before its last step: "METRIC < NUMBER" or "METRIC > NUMBER" stops it
            when the metric passes the number; with `patience`, "METRIC" is enough. Default: no early stopping.
        patience: number of consecutive measurements without a better value of the metric in `stop_when`, ≥ 1, after
            which a seed stops. Default: no limit.
        warm_start: trained parameters to start from instead of new ones: a run directory, a folder of `detente export`,
            a file with a state dictionary for each player, or a mapping from players to any of these or to a state
            dictionary. Default: new parameters.
        batch_norm: what BatchNorm normalises if several processes train together: the "whole" batch, as one process
            does, or each process's "rows", with fewer messages. Default: whole.
    """

    any_type: ClassVar[tuple[str, ...]] = ("metrics",)  # one, or any number of them

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
    metrics: tuple[str | Metric, ...] = ()
    loggers: tuple[Logger, ...] | None = None
    stop_when: str | None = None
    patience: int | None = None
    warm_start: Mapping[str, Any] | Path | str | None = None
    batch_norm: BatchNorm | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", tuple(metrics_by_label(self.metrics).values()))
        for name in ("steps", "samples"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "an integer ≥ 1")
        for name in ("record_every", "measure_every", "checkpoint_every"):
            interval = getattr(self, name)
            require(interval is None or interval >= 1, name, interval, "an integer ≥ 1, or None for the default")
        finite = self.seconds is None or (math.isfinite(self.seconds) and self.seconds > 0)
        require(finite, "seconds", self.seconds, "a finite number > 0, or None")
        require(self.threads is None or self.threads >= 1, "threads", self.threads, "an integer ≥ 1, or None")
        require(len(self.seeds) > 0, "seeds", self.seeds, "at least one integer ≥ 0")
        require(all(0 <= seed < 2**32 for seed in self.seeds), "seeds", self.seeds, "integers ≥ 0, below 2³²")
        require(len(set(self.seeds)) == len(self.seeds), "seeds", self.seeds, "each seed once")
        known = self.batch_norm is None or self.batch_norm in get_args(BatchNorm)
        require(known, "batch_norm", self.batch_norm, "'whole', 'rows' or None")
        require(self.compile in ("auto", "on", "off"), "compile", self.compile, "'auto', 'on' or 'off'")
        patient = self.patience is None or self.patience >= 1
        require(patient, "patience", self.patience, "an integer ≥ 1, or None")
        named = self.patience is None or self.stop_when is not None
        require(named, "patience", self.patience, "None without a metric", "Name the metric in stop_when")
        Stopping.of(self.stop_when, self.patience)
        for logger in self.loggers or ():
            require(isinstance(logger, Logger), "loggers", logger, "members of `detente.loggers`, e.g. Wandb()")
        object.__setattr__(self, "method", self.method.playing(self.game))
        self.method.check(self.game)
        require_supported(self.settings, self.game, self.method)
        require_device(self.device)

    @property
    def settings(self) -> EvaluationSettings:
        """Settings for the evaluation of the game."""
        return EvaluationSettings(self.precision, self.accumulate, self.channels_last)

    def every(self, event: str) -> int:
        """Return the number of steps between events of one kind: "record", "measure" or "checkpoint"."""
        return getattr(self, f"{event}_every") or max(1, self.steps // EVENTS_PER_RUN[event])

    def next_event_step(self, step: int) -> int:
        """Return the next step with a record or a measurement, as far as it depends on steps and not on seconds."""
        next_steps = [(step // every + 1) * every for every in map(self.every, ("record", "measure"))]
        return min(self.steps, *next_steps, *([] if self.seconds is None else [step + MAX_BUFFERED_STEPS]))

    def event_between(self, event: str, before: Moment, now: Moment) -> bool:
        """Return whether an event occurs between two moments: by its interval in steps, or in seconds."""
        steps = self.every(event)
        if now[0] // steps > before[0] // steps:
            return True
        if self.seconds is None or getattr(self, f"{event}_every") is not None:
            return False
        interval = self.seconds / EVENTS_PER_RUN[event]
        return now[1] // interval > before[1] // interval

    def has_event_between(self, before: Moment, now: Moment) -> bool:
        """Return whether there is a record or a measurement between two moments, or the run ends."""
        return (
            self.is_over(now) or self.event_between("record", before, now) or self.event_between("measure", before, now)
        )

    def until(self, steps: int | None = None, seconds: float | None = None) -> Run:
        """Return the run with another limit; intervals derived from the number of steps do not change."""
        # With a time limit, the intervals are derived from the seconds.
        intervals = {} if self.seconds else {f"{event}_every": self.every(event) for event in EVENTS_PER_RUN}
        steps, seconds = self.steps if steps is None else steps, self.seconds if seconds is None else seconds
        return replace(self, steps=steps, seconds=seconds, **intervals)

    def is_over(self, now: Moment) -> bool:
        """Return whether the run has reached its limit of steps or seconds."""
        return now[0] >= self.steps or (self.seconds is not None and now[1] >= self.seconds)
