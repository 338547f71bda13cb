"""The loop: a generator of ticks that callers pull; no callbacks, no files."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from detente.game import Game
from detente.metrics.base import Metric
from detente.metrics.context import EvaluationContext
from detente.registry import members, name_of
from detente.state import Info, flatten, unflatten
from detente.training.drawing import Drawing, drawings
from detente.training.execution import Execution, execution
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
    """

    step: int
    progress: tuple[Progress, ...]
    infos: dict[int, Info]
    metrics: dict[int, dict[str, float]]
    execution: str

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
    plan = execution(run)
    metrics = applicable(run.game)
    with drawings(run, progress) as draws:
        yield from _with_threads(plan.threads, _ticks(run, progress, draws, plan, metrics, fresh=start is None))


def _ticks(
    run: Run,
    progress: tuple[Progress, ...],
    draws: dict[int, Drawing],
    plan: Execution,
    metrics: dict[str, Metric],
    fresh: bool,
) -> Iterator[Tick]:
    now = _moment(progress)
    if fresh:
        yield Tick(0, progress, {}, _measure(run, metrics, progress), plan.words)
    if run.seconds is not None and plan.steps.compiled and not run.is_over(now) and _living(progress):
        _compile(run, plan.steps, progress)
    while not run.is_over(now) and _living(progress):
        before, next_step = now, run.next_event_step(now[0])
        infos_by_seed: dict[int, list[Info]] = {seed_progress.seed: [] for seed_progress in progress}
        donate = False  # callers may hold what the last tick showed them
        while now[0] < next_step and not run.has_event_between(before, now) and _living(progress):
            count = min(plan.steps.chunk, next_step - now[0])
            progress, infos = _advance(run, plan.steps, progress, draws, count, donate)
            donate = True
            for seed, info in infos.items():
                infos_by_seed[seed].append(info)
            now = now[0] + count, max(seed_progress.seconds for seed_progress in progress)
        measures = run.event_between("measure", before, now) or run.is_over(now)
        averaged = {seed: _average(infos) for seed, infos in infos_by_seed.items() if infos}
        yield Tick(now[0], progress, averaged, _measure(run, metrics, progress) if measures else {}, plan.words)


def _compile(run: Run, steps: Steps, progress: tuple[Progress, ...]) -> None:
    """Let a chunk be compiled before the clock runs: steps from here, with random numbers that nobody else gets."""
    _advance(
        run,
        steps,
        progress,
        {seed_progress.seed: Drawing(run, seed_progress) for seed_progress in progress},
        steps.chunk,
        donate=False,
    )


def _moment(progress: Sequence[Progress]) -> Moment:
    """Return where the seed that came farthest is, which every seed is that has not diverged."""
    return max(seed_progress.step for seed_progress in progress), max(
        seed_progress.seconds for seed_progress in progress
    )


def _with_threads(threads: int, ticks: Iterator[Tick]) -> Iterator[Tick]:
    """Yield ticks computed with a number of threads that holds only while they are computed."""
    outside = torch.get_num_threads()
    while True:
        torch.set_num_threads(threads)
        try:
            tick = next(ticks)
        except StopIteration:
            return
        finally:
            torch.set_num_threads(outside)
        yield tick


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
    """Return every living seed's training `count` steps later, and what those steps told."""
    active = _living(progress)
    started = time.perf_counter()
    prepared = [
        run.method.prepare(steps.game, seed_progress.state, draws[seed_progress.seed].generator)
        for seed_progress in active
    ]
    inputs = [draws[seed_progress.seed].take(seed_progress.state, count) for seed_progress in active]
    states, infos = steps(prepared, [draws_of_seed for draws_of_seed, _ in inputs], donate)
    seconds = (time.perf_counter() - started) / len(active)
    after = {}
    for seed_progress, state, info, (_, random) in zip(active, states, infos, inputs, strict=True):
        finite = info.finite
        diverged_at = None if bool(finite.all()) else seed_progress.step + int((~finite).int().argmax()) + 1
        after[seed_progress.seed] = replace(
            seed_progress, state=state, random=random, seconds=seed_progress.seconds + seconds, diverged_at=diverged_at
        )
    progress_after = tuple(after.get(seed_progress.seed, seed_progress) for seed_progress in progress)
    return progress_after, {seed_progress.seed: info for seed_progress, info in zip(active, infos, strict=True)}


def _living(progress: Sequence[Progress]) -> list[Progress]:
    return [seed_progress for seed_progress in progress if seed_progress.diverged_at is None]


def _average(infos: list[Info]) -> Info:
    """Return the mean over steps of what several chunks told."""
    flats = [flatten(info.tree()) for info in infos]
    mean = {key: torch.cat([flat[key] for flat in flats]).mean() for key in flats[0]}
    return Info(**unflatten(mean, infos[0].tree()), gradient_evaluations=infos[0].gradient_evaluations)


def _measure(run: Run, metrics: dict[str, Metric], progress: tuple[Progress, ...]) -> dict[int, dict[str, float]]:
    """Return every metric of every living seed, from random numbers of the measurement's own.

    They are the same at every step: what a metric shows then is the generator's change, not another draw of latents.
    """
    measured = {}
    for seed_progress in _living(progress):
        generator = torch.Generator().manual_seed(MEASURING + seed_progress.seed)
        subject = EvaluationContext(run.game, run.method.scheme.eval_state(seed_progress.state), generator, run.samples)
        measured[seed_progress.seed] = {name: float(metric(subject)) for name, metric in metrics.items()}
    return measured
