"""The loop: a generator of ticks that callers pull; no callbacks, no files."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from detente.game import Game
from detente.metrics.base import Metric
from detente.metrics.context import EvaluationContext
from detente.registry import members, name_of
from detente.state import Info, flatten, unflatten
from detente.training.drawing import Drawing, drawings
from detente.training.execution import execution
from detente.training.progress import Progress, begin
from detente.training.run import Moment, Run
from detente.training.step import Steps

MEASURING = 20_170_602  # seeds of measurements begin here, away from those of trainings


@dataclass(frozen=True)
class Tick:
    """What there is to see every so many steps.

    Args:
        step: number of steps taken.
        progress: every seed's training so far.
        infos: by seed, what its steps since the last tick told, averaged over them.
        metrics: by seed, what was measured; empty between measurements.
        execution: how the steps are carried out, in words.
        fallback_reason: why steps run eagerly that were to be compiled or mapped; empty if nothing fell back.
    """

    step: int
    progress: tuple[Progress, ...]
    infos: dict[int, Info]
    metrics: dict[int, dict[str, float]]
    execution: str
    fallback_reason: str = ""

    @property
    def moment(self) -> Moment:
        """Steps taken, and the seconds they took a seed."""
        return _moment(self.progress)


def train(run: Run, start: Sequence[Progress] | None = None) -> Iterator[Tick]:
    """Train every seed of a run, and yield a tick before the first step, every `record_every` steps and at the end.

    Args:
        run: what to do.
        start: where to go on from (default: from the beginning).
    """
    progress = tuple((begin(run, seed) for seed in run.seeds) if start is None else start)
    plan, metrics = execution(run), applicable(run.game)
    now = _moment(progress)
    with drawings(run, progress) as draws:
        if start is None:
            with _threads(plan.threads):
                measured = _measure(run, metrics, progress)
            yield Tick(0, progress, {}, measured, plan.words, plan.fallback_reason)
        if run.seconds is not None and plan.steps.compiled and not run.is_over(now) and _active(progress):
            with _threads(plan.threads):
                _compile(run, plan.steps, progress)
        while not run.is_over(now) and _active(progress):
            before, next_step = now, run.next_event_step(now[0])
            infos_by_seed: dict[int, list[Info]] = {seed: [] for seed in run.seeds}
            donate = False  # callers may hold what the last tick showed them
            with _threads(plan.threads):
                while now[0] < next_step and not run.has_event_between(before, now) and _active(progress):
                    count = min(plan.steps.chunk, next_step - now[0])
                    progress, infos = _advance(run, plan.steps, progress, draws, count, donate)
                    donate = True
                    for seed, info in infos.items():
                        infos_by_seed[seed].append(info)
                    now = now[0] + count, max(entry.seconds for entry in progress)
                measures = run.event_between("measure", before, now) or run.is_over(now)
                averaged = {seed: _average(infos) for seed, infos in infos_by_seed.items() if infos}
                measured = _measure(run, metrics, progress) if measures else {}
            yield Tick(now[0], progress, averaged, measured, plan.words, plan.fallback_reason)


def _compile(run: Run, steps: Steps, progress: tuple[Progress, ...]) -> None:
    """Let a chunk be compiled before the clock runs: steps from here, with random numbers that nobody else gets."""
    _advance(
        run,
        steps,
        progress,
        {entry.seed: Drawing(run, entry) for entry in progress},
        steps.chunk,
        donate=False,
    )


def _moment(progress: Sequence[Progress]) -> Moment:
    """Return where the seed that came farthest is, which every seed is that has not diverged."""
    return max(entry.step for entry in progress), max(entry.seconds for entry in progress)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Torch uses a number of threads within; between ticks the caller's own number holds."""
    outside = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(outside)


def applicable(game: Game) -> dict[str, Metric]:
    """Return every routine metric that is defined for a game, with its defaults, by name."""
    kinds = [kind for kind in members("metrics").values() if kind.routine]
    return {name_of(kind): metric for kind in kinds if (metric := kind()).applies(game)}


def _advance(
    run: Run,
    steps: Steps,
    progress: tuple[Progress, ...],
    draws: dict[int, Drawing],
    count: int,
    donate: bool,
) -> tuple[tuple[Progress, ...], dict[int, Info]]:
    """Return every active seed's training `count` steps later, and what those steps told."""
    active = _active(progress)
    started = time.perf_counter()
    prepared = [run.method.prepare(steps.game, entry.state, draws[entry.seed].generator) for entry in active]
    inputs = [draws[entry.seed].take(entry.state, count) for entry in active]
    states, infos = steps(prepared, [draws_of_seed for draws_of_seed, _ in inputs], donate)
    seconds = (time.perf_counter() - started) / len(active)
    after = {}
    for entry, state, info, (_, random) in zip(active, states, infos, inputs, strict=True):
        finite = info.finite
        diverged_at = None if bool(finite.all()) else entry.step + int((~finite).int().argmax()) + 1
        after[entry.seed] = replace(
            entry, state=state, random=random, seconds=entry.seconds + seconds, diverged_at=diverged_at
        )
    progress_after = tuple(after.get(entry.seed, entry) for entry in progress)
    return progress_after, {entry.seed: info for entry, info in zip(active, infos, strict=True)}


def _active(progress: Sequence[Progress]) -> list[Progress]:
    return [entry for entry in progress if entry.diverged_at is None]


def _average(infos: list[Info]) -> Info:
    """Return the mean over steps of what several chunks told."""
    flats = [flatten(info.tree()) for info in infos]
    mean = {key: torch.cat([flat[key] for flat in flats]).mean() for key in flats[0]}
    return Info(**unflatten(mean, infos[0].tree()), gradient_evaluations=infos[0].gradient_evaluations)


def _measure(run: Run, metrics: dict[str, Metric], progress: tuple[Progress, ...]) -> dict[int, dict[str, float]]:
    """Return every metric of every active seed, from random numbers of the measurement's own.

    They are the same at every step: what a metric shows then is the generator's change, not another draw of latents.
    """
    measured = {}
    for entry in _active(progress):
        generator = torch.Generator().manual_seed(MEASURING + entry.seed)
        subject = EvaluationContext(run.game, run.method.scheme.eval_state(entry.state), generator, run.samples)
        measured[entry.seed] = {name: float(metric(subject)) for name, metric in metrics.items()}
    return measured
