"""A run directory of a training by several ranks: rank 0 writes, and all of them learn whether it could."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from detente.errors import RankError
from detente.ranks import Ranks
from detente.training.distributed import by_first, is_agreed, naming_lost_ranks, require_alike
from detente.training.loop import Tick, ticks_together
from detente.training.progress import Progress, initial_progress
from detente.training.run import Run
from detente.training.same_start import evaluated_progress, leaves, require_ranks_fit, whole_progress

if TYPE_CHECKING:
    from detente.training.run_directory.record import Record


def train_together(run: Run, opened: Callable[[], Record], ranks: Ranks) -> Iterator[Tick]:
    """Train a run by several ranks, record it on rank 0, and yield its ticks on all.

    Before a checkpoint is written, all ranks compare their states, so that what was saved is right.

    Args:
        run: the training run.
        opened: returns the record of the run; only rank 0 calls it, so only rank 0 needs the directory.
        ranks: the ranks.

    Raises:
        InvalidValue: see `Record`.
        RankError: a rank was lost, or has another state than the others; the last checkpoint was written before.
    """
    with naming_lost_ranks(ranks):
        require_ranks_fit(run, ranks)
        record = by_first(opened, ranks, told=False)
        last: Tick | None = None
        try:
            for tick in ticks_together(run, _start(run, record, ranks), ranks, checked=True):
                saves = last is None or run.event_between("checkpoint", last.moment, tick.moment)
                whole = _agreed(run, tick, ranks) if saves else _evaluated(run, tick, ranks)
                by_first(lambda written=whole: record.write(written), ranks)
                del whole
                last = tick
                yield tick
        except BaseException as error:
            if is_agreed(error) and not isinstance(error, RankError):
                _end(run, record, last, ranks)
            elif record is not None:
                _close(record, save=False)
            raise
        _end(run, record, last, ranks)


def _agreed(run: Run, tick: Tick, ranks: Ranks) -> Tick:
    """Return a tick with the progress that one process would have, if all ranks agree on it."""
    progress = whole_progress(run, tick.progress, ranks)
    require_alike(leaves(progress), ranks, f"at step {tick.step}")
    return replace(tick, progress=progress)


def _evaluated(run: Run, tick: Tick, ranks: Ranks) -> Tick:
    """Return a tick of which rank 0 can draw pictures."""
    return replace(tick, progress=evaluated_progress(run, tick.progress, ranks)) if tick.metrics else tick


def _start(run: Run, record: Record | None, ranks: Ranks) -> tuple[Progress, ...] | None:
    """Return the progress that rank 0 continues from, on other ranks with the same shapes; None at the beginning."""
    continues = by_first(lambda: record is not None and record.start is not None, ranks)
    if not continues or record is not None:
        return record.start if record is not None else None
    return tuple(initial_progress(run, seed, warm_start=False) for seed in run.seeds)


def _end(run: Run, record: Record | None, last: Tick | None, ranks: Ranks) -> None:
    """Save the last tick, if all ranks agree on it, and let the others wait for that."""
    different: RankError | None = None
    try:
        last = None if last is None else _agreed(run, last, ranks)
    except RankError as error:
        different = error
    by_first(lambda: _close(record, different is None, last), ranks)
    if different is not None:
        raise different


def _close(record: Record | None, save: bool, last: Tick | None = None) -> None:
    if record is not None:
        record.end_with(save, last)
        record.__exit__(*sys.exc_info())
