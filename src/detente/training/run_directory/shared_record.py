"""A run directory of a training by several ranks: rank 0 writes, and all of them learn whether it could."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from detente.errors import RankError
from detente.ranks import Ranks
from detente.training.distributed import by_first, is_agreed, naming_lost_ranks, require_alike
from detente.training.loop import Tick, ticks_together
from detente.training.progress import Progress, initial_progress
from detente.training.run import Run
from detente.training.same_start import leaves, require_ranks_fit

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
                if last is None or run.event_between("checkpoint", last.moment, tick.moment):
                    require_alike(leaves(tick.progress), ranks, f"at step {tick.step}")
                by_first(lambda tick=tick: record.write(tick), ranks)
                last = tick
                yield tick
        except BaseException as error:
            if is_agreed(error) and not isinstance(error, RankError):
                _end(record, last, ranks)
            elif record is not None:
                _close(record, save=isinstance(error, GeneratorExit))
            raise
        _end(record, last, ranks)


def _start(run: Run, record: Record | None, ranks: Ranks) -> tuple[Progress, ...] | None:
    """Return the progress that rank 0 continues from, on other ranks with the same shapes; None at the beginning."""
    continues = by_first(lambda: record is not None and record.start is not None, ranks)
    if not continues or record is not None:
        return record.start if record is not None else None
    return tuple(initial_progress(run, seed, warm_start=False) for seed in run.seeds)


def _end(record: Record | None, last: Tick | None, ranks: Ranks) -> None:
    """Save the last tick, if all ranks agree on it, and let the others wait for that."""
    alike: RankError | None = None
    try:
        if last is not None:
            require_alike(leaves(last.progress), ranks, f"at step {last.step}")
    except RankError as error:
        alike = error
    by_first(lambda: _close(record, save=alike is None), ranks)
    if alike is not None:
        raise alike


def _close(record: Record | None, save: bool) -> None:
    if record is not None:
        record.saves_at_end = save
        record.__exit__(*sys.exc_info())
