"""A grid of trainings on an executor."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from detente.comparison.cells import Cell, require_portable, train_cell
from detente.errors import InvalidValue, unknown
from detente.executors.base import Executor
from detente.registry import members
from detente.report.run_progress import RunProgress, read_progress

POLL_SECONDS = 0.5
Status = Literal["waiting", "training", "finished", "failed"]


@dataclass(frozen=True)
class CellState:
    """The state of a cell.

    Args:
        status: "waiting", "training", "finished" or "failed".
        progress: the progress of its run.
        error: why it failed; empty otherwise.
    """

    status: Status = "waiting"
    progress: RunProgress = RunProgress()
    error: str = ""


GridState = Mapping[str, CellState]  # by name of the cell


def named_executor(executor: Executor | str | None) -> Executor:
    """Return an executor by its name, or unchanged. Default: one training after the other, in this process.

    Raises:
        InvalidValue: there is no such executor, or its package is not installed.
    """
    if isinstance(executor, str) or executor is None:
        kinds, name = members("executors"), executor or "here"
        if name not in kinds:
            raise unknown("executor", name, kinds)
        executor = kinds[name]()
    assert isinstance(executor, Executor)
    executor.check()
    return executor


def carry_out_grid(cells: Sequence[Cell], executor: Executor, folder: Path) -> Generator[GridState, None, None]:
    """Train all cells, and yield the state of the grid about twice a second and at its end.

    A cell that fails does not stop the others. When the iterator is closed, by Ctrl-C or otherwise, the running cells
    are saved and stopped; the same call continues them.

    Args:
        cells: the cells, with different names.
        executor: where they are trained.
        folder: folder of the grid, which contains all run directories.

    Raises:
        InvalidValue: a cell cannot be pickled for another process, or the executor cannot be used.
    """
    cells = [replace(cell, foreign_locks=executor.several_machines) for cell in cells]
    require_portable(cells, executor)
    by_name = {cell.name: cell for cell in cells}
    waiting, states = deque(cells), {cell.name: CellState() for cell in cells}
    yield dict(states)
    if not cells:
        return
    with executor.open(folder) as session:
        in_flight: set[str] = set()
        while waiting or in_flight:
            while waiting and len(in_flight) < session.capacity:
                cell = waiting.popleft()
                session.submit(cell.name, train_cell, cell)
                in_flight.add(cell.name)
            for ended in session.wait(POLL_SECONDS):
                in_flight.discard(ended.key)
                progress = read_progress(by_name[ended.key].directory)
                if ended.status == "done":
                    states[ended.key] = CellState("finished", progress)
                else:
                    error = ended.error or "it was stopped from outside"
                    states[ended.key] = CellState("failed", progress, error)
            for name in in_flight:
                states[name] = CellState("training", read_progress(by_name[name].directory))
            yield dict(states)


def last_state(states: Iterator[GridState]) -> GridState:
    """Return the last of a grid's states."""
    *_, last = states
    return last


def require_success(states: GridState) -> None:
    """Raise `InvalidValue` if a cell has failed."""
    failed = {name: state.error for name, state in states.items() if state.status == "failed"}
    if failed:
        errors = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise InvalidValue("cells", ", ".join(failed), "trainings that finish", errors)
