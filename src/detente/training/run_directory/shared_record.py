"""A run directory of a training by several ranks: rank 0 writes, and all of them learn whether it could."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from detente.errors import RankError
from detente.ranks import Ranks
from detente.training.distributed import by_first, everyones, everywhere, is_agreed, naming_lost_ranks, require_alike
from detente.training.loop import Tick, ticks_together
from detente.training.progress import Progress, initial_progress
from detente.training.run import Run
from detente.training.run_directory import checkpoint
from detente.training.same_start import divided_names, evaluated_progress, leaves, require_ranks_fit, whole_progress

if TYPE_CHECKING:
    from detente.training.run_directory.record import Record

MARK = "ranks"  # name of a file


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
        record = by_first(opened, ranks, share=False)
        save = _Saving.of(run, record, ranks)
        last: Tick | None = None
        try:
            for tick in ticks_together(run, _start(run, record, ranks), ranks, checked=True):
                saves = last is None or run.event_between("checkpoint", last.moment, tick.moment)
                evaluated = save.prepared(tick) if saves else save.evaluated(tick)
                by_first(lambda written=evaluated: record.write(written), ranks)
                del evaluated
                last = tick
                yield tick
        except BaseException as error:
            if is_agreed(error) and not isinstance(error, RankError):
                _end(save, last)
            elif record is not None:
                _close(record, save=False)
            raise
        _end(save, last)


@dataclass(frozen=True)
class _Saving:
    """What ranks do together before rank 0 writes a tick.

    Args:
        run: the training run.
        record: the record; None on ranks other than 0.
        ranks: the ranks.
        folder: the folder of checkpoints, if every rank writes its parts there; None if rank 0 writes all.
        divided: names, in a state, of the tensors divided among ranks, if every rank writes its part.
    """

    run: Run
    record: Record | None
    ranks: Ranks
    folder: Path | None = None
    divided: frozenset[str] = frozenset()

    @classmethod
    def of(cls, run: Run, record: Record | None, ranks: Ranks) -> _Saving:
        """Return how a run is saved: in parts if ranks divide memory, and all of them see the directory."""
        if not ranks.shard:
            return cls(run, record, ranks)
        folder = Path(by_first(lambda: _marked(record), ranks))
        visible_to_all = all(everyones((folder / MARK).exists(), ranks))
        by_first(lambda: (folder / MARK).unlink(missing_ok=True), ranks)
        return cls(run, record, ranks, folder, divided_names(run, ranks)) if visible_to_all else cls(run, record, ranks)

    def prepared(self, tick: Tick) -> Tick:
        """Return a tick for `Record.write` to save, if all ranks agree on it.

        It has the progress that one process would have, or, if ranks write parts, the others have written theirs.
        """
        if self.folder is None:
            return replace(tick, progress=self._agreed(tick, whole_progress(self.run, tick.progress, self.ranks)))
        self._agreed(tick, tick.progress)
        ranks, folder = self.ranks, self.folder
        mark = by_first(lambda: secrets.token_hex(8), ranks)
        division = checkpoint.Division(ranks.count, self.divided, mark)
        everywhere(lambda: ranks.rank and checkpoint.save_part(folder, tick.progress, ranks.rank, division), ranks)
        if self.record is not None:
            self.record.save_divided(tick.progress, division)
        return self.evaluated(tick)

    def evaluated(self, tick: Tick) -> Tick:
        """Return a tick from which rank 0 can draw figures, if it was measured."""
        if not tick.metrics:
            return tick
        return replace(tick, progress=evaluated_progress(self.run, tick.progress, self.ranks))

    def _agreed(self, tick: Tick, progress: tuple[Progress, ...]) -> tuple[Progress, ...]:
        require_alike(leaves(progress, self.divided), self.ranks, f"at step {tick.step}")
        return progress


def _marked(record: Record | None) -> str:
    """Return the folder of checkpoints, after writing a file there by which others know that they see it."""
    assert record is not None
    record.checkpoints.mkdir(parents=True, exist_ok=True)
    (record.checkpoints / MARK).write_text("", encoding="utf-8")
    return str(record.checkpoints.resolve())


def _start(run: Run, record: Record | None, ranks: Ranks) -> tuple[Progress, ...] | None:
    """Return the progress that rank 0 continues from, on other ranks with the same shapes; None at the beginning."""
    continues = by_first(lambda: record is not None and record.start is not None, ranks)
    if not continues or record is not None:
        return record.start if record is not None else None
    return tuple(initial_progress(run, seed, warm_start=False) for seed in run.seeds)


def _end(save: _Saving, last: Tick | None) -> None:
    """Save the last tick, if all ranks agree on it, and let the others wait for that."""
    record, ranks = save.record, save.ranks
    different: RankError | None = None
    try:
        if last is not None and not by_first(lambda tick=last: record is not None and record.has_saved(tick), ranks):
            last = save.prepared(last)
    except RankError as error:
        different = error
    by_first(lambda: _close(record, different is None, last), ranks)
    if different is not None:
        raise different


def _close(record: Record | None, save: bool, last: Tick | None = None) -> None:
    if record is not None:
        record.end_with(save, last)
        record.__exit__(*sys.exc_info())
