"""The training loop: a generator of ticks, without callbacks and without files."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace

import torch

from detente.game import Game
from detente.loggers.base import Logger
from detente.metrics.base import Metric, Stamp
from detente.metrics.context import EvaluationContext
from detente.metrics.selection import metrics_by_label
from detente.ranks import Ranks, sum_over_ranks, together
from detente.registry import members, name_of
from detente.state import Info, Tree, flatten, unflatten
from detente.training.distributed import by_first, everywhere, naming_lost_ranks
from detente.training.divergence import cause
from detente.training.drawing import RandomInputs, random_inputs
from detente.training.execution import Execution, agree_on_execution, choose_execution
from detente.training.log_sessions import log_ticks
from detente.training.measurement import Score, measure, measurement_generator, require_available, select_applicable
from detente.training.pace import Pace
from detente.training.plateau import reduce_on_plateau, require_metrics
from detente.training.progress import Progress, initial_progress
from detente.training.run import Moment, Run
from detente.training.same_start import (
    evaluated_progress,
    progress_of_first,
    progress_of_rank,
    require_ranks_fit,
    whole_progress,
)
from detente.training.signals import Noted, note_signals
from detente.training.step import Steps
from detente.training.stopping import Stopping, stop_seeds


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
        stamps: how each metric was measured, see `Metric.stamp`.
    """

    step: int
    progress: tuple[Progress, ...]
    infos: dict[int, Info]
    metrics: dict[int, dict[str, float]]
    execution: str
    fallback_reason: str = ""
    stamps: Mapping[str, Stamp] = field(default_factory=dict)

    @property
    def moment(self) -> Moment:
        """Number of steps, and the seconds they took per seed."""
        return _moment(self.progress)


def train(
    run: Run,
    start: Sequence[Progress] | None = None,
    metrics: Iterable[str | Metric] | str | Metric = (),
    loggers: Sequence[Logger] | None = None,
    ranks: Ranks | None = None,
) -> Iterator[Tick]:
    """Train every seed of a run, and yield a tick before the first step, every `record_every` steps and at the end.

    Args:
        run: the training run.
        start: progress of every seed to continue from. Default: start from the beginning.
        metrics: metrics to measure in addition to those of the run, as in `Run`.
        loggers: services that receive the run's numbers and pictures. Default: those of the run, without
            TensorBoard's default.
        ranks: from `detente.joined()`, if several processes train the run together. All of them yield the same ticks;
            rank 0 alone measures and logs. A signal such as SIGTERM to one stops all at the same step.

    Raises:
        InvalidValue: a package or file is missing that one of the run's metrics needs; or the game or the device
            cannot be shared by the ranks.
        RankError: another rank was lost.
    """
    run = replace(run, metrics=(*run.metrics, *metrics_by_label(metrics).values()))
    loggers = run.loggers if loggers is None else loggers
    if ranks is None or ranks.count == 1:
        ticks = _ticks(run, start)
    else:
        loggers = loggers if ranks.rank == 0 else ()
        ticks_of_rank = ticks_together(run, start, ranks)
        ticks = (replace(tick, progress=whole_progress(run, tick.progress, ranks)) for tick in ticks_of_rank)
    return log_ticks(ticks, run, loggers, None if start is None else _moment(start)[0]) if loggers else ticks


@dataclass(frozen=True)
class _Together:
    """The processes of a training, as the loop uses them.

    Args:
        ranks: the ranks; None for a single process.
        pace: keeps the ranks in step.
        noted: the signals that this process has received.
    """

    ranks: Ranks | None = None
    pace: Pace = field(default_factory=lambda: Pace(None))
    noted: Noted | None = None


ALONE = _Together()


def ticks_together(run: Run, start: Sequence[Progress] | None, ranks: Ranks, checked: bool = False) -> Iterator[Tick]:
    """Yield the ticks of `train` with what one of several ranks holds of the progress.

    Args:
        run: the training run.
        start: as of `train`.
        ranks: the ranks.
        checked: whether `require_ranks_fit` was called before.
    """
    with naming_lost_ranks(ranks), note_signals() as noted:
        if not checked:
            require_ranks_fit(run, ranks)
        ranks = replace(ranks, batch_norm=run.batch_norm or ranks.batch_norm)
        with together(ranks):  # the first message takes seconds, which do not count
            sum_over_ranks(torch.zeros((), device=run.device))
        yield from _ticks(run, start, _Together(ranks, Pace(ranks, noted), noted))


def _ticks(run: Run, start: Sequence[Progress] | None, others: _Together = ALONE) -> Iterator[Tick]:
    """Yield the ticks of `train`."""
    ranks, pace = others.ranks, others.pace
    progress, execution, metrics, rule = everywhere(lambda: _prepared(run, start, ranks), ranks)
    progress = progress_of_rank(run, progress_of_first(progress, ranks), ranks)
    agree_on_execution(execution, ranks)
    now = _moment(progress)
    with random_inputs(run, progress, ranks) as inputs_by_seed:
        if start is None:
            with _threads(execution.threads):
                measured = _measure(run, metrics, progress, others)
            progress = stop_seeds(rule, progress, _values(measured), metrics)
            yield _tick(0, progress, {}, measured, execution)
        if run.seconds is not None and execution.steps.compiled and not run.is_over(now) and _active(progress):
            with _threads(execution.threads):
                _compile(run, execution.steps, progress, others)
        while not run.is_over(now) and _active(progress):
            before, next_step, at_tick = now, run.next_event_step(now[0]), progress
            infos_by_seed: dict[int, list[Info]] = {seed: [] for seed in run.seeds}
            donate = False  # callers may still use the state of the last tick
            with _threads(execution.threads):
                while now[0] < next_step and not run.has_event_between(before, now) and _active(progress):
                    count = min(execution.count, next_step - now[0])
                    at_tick_end = now[0] + count >= next_step
                    progress, infos = _advance(
                        run, execution.steps, progress, inputs_by_seed, count, donate, others, at_tick_end
                    )
                    donate = True
                    for seed, info in infos.items():
                        infos_by_seed[seed].append(info)
                    now = now[0] + count, max(entry.seconds for entry in progress)
                progress = _explained(run, at_tick, progress, infos_by_seed, ranks)
                scheduled = run.event_between("measure", before, now)
                measures = scheduled or run.is_over(now)
                averaged = {seed: _average(infos) for seed, infos in infos_by_seed.items() if infos}
                measured = _measure(run, metrics, progress, others) if measures else {}
                if scheduled:  # a resumed run, which ends later, has no measurement at an end that is not scheduled
                    progress = reduce_on_plateau(run, progress, _values(measured))
                    progress = stop_seeds(rule, progress, _values(measured), metrics)
            yield _tick(now[0], progress, averaged, measured, execution)
            pace.stop()


def _prepared(
    run: Run, start: Sequence[Progress] | None, ranks: Ranks | None
) -> tuple[tuple[Progress, ...], Execution, dict[str, Metric], Stopping | None]:
    """Return the progress at the start, the execution of steps, the metrics, and the rule of early stopping."""
    progress = tuple((initial_progress(run, seed) for seed in run.seeds) if start is None else start)
    execution, metrics = choose_execution(run, ranks), {**applicable(run.game), **_requested(run)}
    require_metrics(run, metrics)
    rule = Stopping.of(run.stop_when, run.patience)
    if rule is not None:
        rule.check(metrics)
    return progress, execution, metrics, rule


def _compile(run: Run, steps: Steps, progress: tuple[Progress, ...], others: _Together) -> None:
    """Compile a chunk before time is measured, by running steps on separate random inputs and discarding them."""
    _advance(
        run,
        steps,
        progress,
        {entry.seed: RandomInputs(run, entry, None, others.ranks) for entry in progress},
        steps.chunk,
        donate=False,
        others=others,
        at_tick_end=True,
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
    others: _Together,
    at_tick_end: bool,
) -> tuple[tuple[Progress, ...], dict[int, Info]]:
    """Return the progress of every seed after `count` more steps of the active ones, and the infos of these steps."""
    active = _active(progress)
    started = time.perf_counter()
    with together(others.ranks):
        generators = [inputs_by_seed[entry.seed].generator for entry in active]
        prepared = [
            run.method.prepare(steps.game, entry.state, generator)
            for entry, generator in zip(active, generators, strict=True)
        ]
        inputs = [inputs_by_seed[entry.seed].take(entry.state, count) for entry in active]
        states, infos = steps(prepared, [draws_of_seed for draws_of_seed, _ in inputs], donate)
    seconds = others.pace(time.perf_counter() - started, at_tick_end) / len(active)
    advanced = {}
    for entry, state, info, (_, random) in zip(active, states, infos, inputs, strict=True):
        finite = info.finite
        diverged_at = None if bool(finite.all()) else entry.step + int((~finite).int().argmax()) + 1
        advanced[entry.seed] = replace(
            entry, state=state, random=random, seconds=entry.seconds + seconds, diverged_at=diverged_at
        )
    progress_after = tuple(advanced.get(entry.seed, entry) for entry in progress)
    return progress_after, {entry.seed: info for entry, info in zip(active, infos, strict=True)}


def _explained(
    run: Run,
    before: Sequence[Progress],
    after: Sequence[Progress],
    infos: dict[int, list[Info]],
    ranks: Ranks | None,
) -> tuple[Progress, ...]:
    """Return the progress after a tick, with the cause of each seed that has diverged since the last one."""
    return tuple(
        replace(entry, cause=cause(run, start, entry, infos[entry.seed][-1], ranks))
        if entry.diverged_at is not None and start.diverged_at is None
        else entry
        for start, entry in zip(before, after, strict=True)
    )


def _active(progress: Sequence[Progress]) -> list[Progress]:
    return [entry for entry in progress if entry.active]


def _average(infos: list[Info]) -> Info:
    """Return the mean over all steps of the infos of several chunks."""
    flats = [flatten(info.tree()) for info in infos]
    # Terms may begin or end at a step.
    names = dict.fromkeys(key for flat in flats for key in flat)
    mean = {key: torch.cat([flat[key] for flat in flats if key in flat]).mean() for key in names}
    tree = _merged([info.tree() for info in infos])
    return Info(**unflatten(mean, tree), gradient_evaluations=infos[0].gradient_evaluations)


def _merged(trees: Sequence[Tree]) -> Tree:
    """Return nested dictionaries with the keys of all."""
    merged: Tree = {}
    for tree in trees:
        for key, value in tree.items():
            merged[key] = _merged([merged.get(key, {}), value]) if isinstance(value, dict) else value
    return merged


def _requested(run: Run) -> dict[str, Metric]:
    """Return the metrics that the run asks for and that apply to its game; warn about the others."""
    requested = metrics_by_label(run.metrics)
    require_available(requested, run.game)
    applying, reasons = select_applicable(requested, run.game)
    for name, reason in reasons.items():
        warnings.warn(f"{name} is not measured: {reason}", stacklevel=3)
    return applying


def _measure(
    run: Run, metrics: dict[str, Metric], progress: tuple[Progress, ...], others: _Together = ALONE
) -> dict[int, dict[str, Score]]:
    """Return all metrics of every active seed, computed with a separate random generator, by rank 0."""
    progress = evaluated_progress(run, progress, others.ranks)

    def measured() -> dict[int, dict[str, Score]]:
        scores = {}
        with nullcontext() if others.noted is None else others.noted.raised():
            for entry in _active(progress):
                state, generator = run.method.scheme.eval_state(entry.state), measurement_generator(entry.seed)
                scores[entry.seed] = measure(metrics, EvaluationContext(run.game, state, generator, run.samples))
        return scores

    return by_first(measured, others.ranks)


def _values(measured: dict[int, dict[str, Score]]) -> dict[int, dict[str, float]]:
    return {seed: {name: score.value for name, score in scores.items()} for seed, scores in measured.items()}


def _tick(
    step: int,
    progress: tuple[Progress, ...],
    infos: dict[int, Info],
    measured: dict[int, dict[str, Score]],
    execution: Execution,
) -> Tick:
    values = _values(measured)
    stamps = {n: score.stamp for scores in measured.values() for n, score in scores.items() if not score.problem}
    return Tick(step, progress, infos, values, execution.description, execution.fallback_reason, stamps)
