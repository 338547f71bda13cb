"""The training loop: a generator of ticks, without callbacks and without files."""

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
from detente.training.drawing import RandomInputs, random_inputs
from detente.training.execution import choose_execution
from detente.training.plateau import reduce_on_plateau, require_metrics
from detente.training.progress import Progress, initial_progress
from detente.training.run import Moment, Run
from detente.training.step import Steps

MEASUREMENT_SEED = 20_170_602  # offset of the seeds of measurements, so that they differ from those of training


@dataclass(frozen=True)
class Tick:
    """The progress of a run at regular intervals.

    Args:
        step: number of steps taken.
        progress: training progress of every seed.
        infos: statistics of the steps by seed, averaged since the last tick.
        metrics: metrics by seed; empty between measurements.
        execution: how the steps are executed, as text.
        fallback_reason: why steps run eagerly although compiled or mapped steps were selected; empty otherwise.
    """

    step: int
    progress: tuple[Progress, ...]
    infos: dict[int, Info]
    metrics: dict[int, dict[str, float]]
    execution: str
    fallback_reason: str = ""

    @property
    def moment(self) -> Moment:
        """Number of steps, and the seconds they took per seed."""
        return _moment(self.progress)


def train(run: Run, start: Sequence[Progress] | None = None) -> Iterator[Tick]:
    """Train every seed of a run, and yield a tick before the first step, every `record_every` steps and at the end.

    Args:
        run: the training run.
        start: progress of every seed to continue from. Default: start from the beginning.
    """
    progress = tuple((initial_progress(run, seed) for seed in run.seeds) if start is None else start)
    execution, metrics = choose_execution(run), applicable(run.game)
    require_metrics(run, metrics)
    now = _moment(progress)
    with random_inputs(run, progress) as inputs_by_seed:
        if start is None:
            with _threads(execution.threads):
                measured = _measure(run, metrics, progress)
            yield Tick(0, progress, {}, measured, execution.description, execution.fallback_reason)
        if run.seconds is not None and execution.steps.compiled and not run.is_over(now) and _active(progress):
            with _threads(execution.threads):
                _compile(run, execution.steps, progress)
        while not run.is_over(now) and _active(progress):
            before, next_step = now, run.next_event_step(now[0])
            infos_by_seed: dict[int, list[Info]] = {seed: [] for seed in run.seeds}
            donate = False  # callers may still use the state of the last tick
            with _threads(execution.threads):
                while now[0] < next_step and not run.has_event_between(before, now) and _active(progress):
                    count = min(execution.steps.chunk, next_step - now[0])
                    progress, infos = _advance(run, execution.steps, progress, inputs_by_seed, count, donate)
                    donate = True
                    for seed, info in infos.items():
                        infos_by_seed[seed].append(info)
                    now = now[0] + count, max(entry.seconds for entry in progress)
                measures = run.event_between("measure", before, now) or run.is_over(now)
                averaged = {seed: _average(infos) for seed, infos in infos_by_seed.items() if infos}
                measured = _measure(run, metrics, progress) if measures else {}
                if run.event_between("measure", before, now):  # the last measurement is not one of a longer run
                    progress = reduce_on_plateau(run, progress, measured)
            yield Tick(now[0], progress, averaged, measured, execution.description, execution.fallback_reason)


def _compile(run: Run, steps: Steps, progress: tuple[Progress, ...]) -> None:
    """Compile a chunk before time is measured, by running steps on separate random inputs and discarding them."""
    _advance(
        run,
        steps,
        progress,
        {entry.seed: RandomInputs(run, entry) for entry in progress},
        steps.chunk,
        donate=False,
    )


def _moment(progress: Sequence[Progress]) -> Moment:
    """Return the moment of the seed with the most steps; all seeds that have not diverged are there."""
    return max(entry.step for entry in progress), max(entry.seconds for entry in progress)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Set torch's number of threads inside the context, and restore the caller's afterwards."""
    previous_count = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(previous_count)


def applicable(game: Game) -> dict[str, Metric]:
    """Return all routine metrics that apply to a game, with default settings, by name."""
    kinds = [kind for kind in members("metrics").values() if kind.routine]
    return {name_of(kind): metric for kind in kinds if (metric := kind()).applies(game)}


def _advance(
    run: Run,
    steps: Steps,
    progress: tuple[Progress, ...],
    inputs_by_seed: dict[int, RandomInputs],
    count: int,
    donate: bool,
) -> tuple[tuple[Progress, ...], dict[int, Info]]:
    """Return the progress of every seed after `count` more steps of the active ones, and the infos of these steps."""
    active = _active(progress)
    started = time.perf_counter()
    prepared = [run.method.prepare(steps.game, entry.state, inputs_by_seed[entry.seed].generator) for entry in active]
    inputs = [inputs_by_seed[entry.seed].take(entry.state, count) for entry in active]
    states, infos = steps(prepared, [draws_of_seed for draws_of_seed, _ in inputs], donate)
    seconds = (time.perf_counter() - started) / len(active)
    advanced = {}
    for entry, state, info, (_, random) in zip(active, states, infos, inputs, strict=True):
        finite = info.finite
        diverged_at = None if bool(finite.all()) else entry.step + int((~finite).int().argmax()) + 1
        advanced[entry.seed] = replace(
            entry, state=state, random=random, seconds=entry.seconds + seconds, diverged_at=diverged_at
        )
    progress_after = tuple(advanced.get(entry.seed, entry) for entry in progress)
    return progress_after, {entry.seed: info for entry, info in zip(active, infos, strict=True)}


def _active(progress: Sequence[Progress]) -> list[Progress]:
    return [entry for entry in progress if entry.diverged_at is None]


def _average(infos: list[Info]) -> Info:
    """Return the mean over all steps of the infos of several chunks."""
    flats = [flatten(info.tree()) for info in infos]
    mean = {key: torch.cat([flat[key] for flat in flats]).mean() for key in flats[0]}
    return Info(**unflatten(mean, infos[0].tree()), gradient_evaluations=infos[0].gradient_evaluations)


def _measure(run: Run, metrics: dict[str, Metric], progress: tuple[Progress, ...]) -> dict[int, dict[str, float]]:
    """Return all metrics of every active seed, computed with a separate random generator.

    Its seed is the same at every step, so metrics change because the generator changes, not because of other latents.
    """
    measured = {}
    for entry in _active(progress):
        generator = torch.Generator().manual_seed(MEASUREMENT_SEED + entry.seed)
        context = EvaluationContext(run.game, run.method.scheme.eval_state(entry.state), generator, run.samples)
        measured[entry.seed] = {name: float(metric(context)) for name, metric in metrics.items()}
    return measured
