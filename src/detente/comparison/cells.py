"""A cell of a grid: one training with its run directory, which may run in any process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detente.deprecated import lookup
from detente.errors import InvalidValue, require
from detente.executors.base import Executor
from detente.report.run_progress import read_progress
from detente.training.loop import Tick
from detente.training.run import Run
from detente.training.run_directory import lock
from detente.training.run_directory.record import train_into
from detente.training.run_directory.status import run_status


@dataclass(frozen=True)
class Cell:
    """One training of a grid. Its run directory records its progress, so a second call continues from there.

    Args:
        name: its name in the grid.
        directory: its run directory.
        described: its configuration in run.yaml.
        make: returns the run; a function at the top level of a module, or a `functools.partial` of one.
        share: fraction of the run's steps (or seconds), in (0, 1], after which it pauses at the next measurement.
        foreign_locks: take over the directory from a lost process of another machine.
        folder: working directory, where the user's own modules and data are.
        command: command line for run.yaml.
    """

    name: str
    directory: Path
    described: Mapping[str, Any]
    make: Callable[[], Run]
    share: float = 1.0
    foreign_locks: bool = False
    folder: str = field(default_factory=os.getcwd)
    command: tuple[str, ...] = field(default_factory=lambda: tuple(sys.argv))


def same_run(run: Run) -> Run:
    """Return the run itself; with `functools.partial`, what makes the run of a cell that was built in Python."""
    return run


def train_cell(cell: Cell) -> Iterator[Tick]:
    """Start, resume or skip the training of a cell, depending on its run directory, and yield its ticks.

    Raises:
        InvalidValue: the directory contains something else; see also `train_into`.
    """
    sys.argv = list(cell.command)
    if os.getcwd() != cell.folder and os.path.isdir(cell.folder):
        os.chdir(cell.folder)
    if cell.folder not in sys.path:
        sys.path.append(cell.folder)
    described = dict(cell.described)
    status = run_status(cell.directory, described)
    if status == "finished" or (status == "unfinished" and is_past(cell)):
        return
    allowed = "a new directory, or one that contains the same run"
    require(status != "other", "out", str(cell.directory), allowed)
    if cell.foreign_locks:
        lock.take_over(cell.directory)  # the executor has begun this cell again, so the former process is lost
    run = cell.make()
    for tick in train_into(run, cell.directory, described, resume=status == "unfinished"):
        yield tick
        if cell.share < 1 and tick.metrics and _share(cell, *tick.moment) >= cell.share:
            return  # which saves the run


def is_past(cell: Cell) -> bool:
    """Return whether a cell has trained its share of the run, according to its directory."""
    progress = read_progress(cell.directory)
    return progress.ended or _share(cell, progress.step, progress.seconds) >= cell.share


def require_portable(cells: Sequence[Cell], executor: Executor) -> None:
    """Raise `InvalidValue`, which names the game or method, if a cell cannot be pickled for another process."""
    for cell in cells if executor.elsewhere else ():
        try:
            executor.pack(cell)
            continue
        except Exception as error:  # pickle raises many kinds
            reason = " ".join(str(error).split())[:300]
        run = cell.make()
        parts: dict[str, Any] = {"game": run.game, f"method {cell.name}": run.method}
        fixed = [name for name, part in parts.items() if not _can_travel(part, executor)]
        name = fixed[0] if fixed else f"run {cell.name}"
        allowed = "what other processes can import: networks, losses and data that a module defines at its top level"
        hint = f"Use no lambda, and nothing defined inside a function. {reason}"
        raise InvalidValue(name, type(parts.get(name, run)).__name__, allowed, hint)


def _can_travel(part: Any, executor: Executor) -> bool:
    try:
        executor.pack(part)
    except Exception:  # pickle raises many kinds
        return False
    return True


def _share(cell: Cell, step: int, seconds: float) -> float:
    """Return the share of its run that a cell has trained."""
    limit = cell.described.get("seconds")
    return max(step / cell.described["steps"], seconds / limit if limit else 0.0)


__getattr__ = lookup(__name__)
