"""The progress of a grid of trainings in one view."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from detente.cli.display import console
from detente.cli.terminal import Console

if TYPE_CHECKING:
    from detente.comparison.grid import CellState, GridState

MOST_LINES = 20  # most cells that are all shown; in larger grids, only those in training are
SECONDS = 10  # between lines where there is no terminal


def follow_grid(
    states: Iterator[GridState], limits: Mapping[str, Mapping[str, Any]], target: Console = console
) -> GridState:
    """Show the progress of a grid: a bar for each cell, or without a terminal a line now and then.

    Args:
        states: the states of the grid over time.
        limits: the configuration of each cell by name, with `steps` and `seconds`.
        target: the console to write to.

    Returns:
        The last state.
    """
    view = GridView(limits, target)
    last: GridState = {}
    with view:
        for last in states:
            view.show(last)
    return last


class GridView:
    """The bars of a grid, or its lines where there is no terminal.

    Args:
        limits: the configuration of each cell by name, with `steps` and `seconds`.
        target: the console to write to.
        title: name of the first bar.
    """

    def __init__(self, limits: Mapping[str, Mapping[str, Any]], target: Console = console, title: str = "") -> None:
        self.limits, self.target, self.title = dict(limits), target, title
        self.tasks: dict[str, TaskID] = {}
        self.printed: set[str] = set()
        self.last_print = time.monotonic()
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}", markup=False),
            console=target,
            refresh_per_second=4,
            disable=not target.is_terminal,
        )

    def __enter__(self) -> GridView:
        self.progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.progress.__exit__(*error)

    def show(self, states: GridState, text: str = "", ended: int | None = None, total: int | None = None) -> None:
        """Show the states.

        Args:
            states: the state of each cell.
            text: text next to the first bar. Default: how many cells have ended.
            ended: how far the first bar is. Default: the number of cells that have ended.
            total: its length. Default: the number of cells.
        """
        text = text or _counts(states)
        if self.target.is_terminal:
            count = sum(state.status in ("finished", "failed") for state in states.values())
            done, length = count if ended is None else ended, len(states) if total is None else total
            self._bar("", self.title or "all", done, max(length, 1), text)
            self._draw(states)
            return
        for name, state in states.items():
            if state.status in ("finished", "failed") and name not in self.printed:
                self.printed.add(name)
                self.target.print(f"{name}: {self._text(name, state)}", soft_wrap=True)
        if time.monotonic() - self.last_print > SECONDS:
            self.last_print = time.monotonic()
            at_work = [f"{n} {self._text(n, s)}" for n, s in states.items() if s.status == "training"]
            self.target.print("; ".join([text, *at_work]), soft_wrap=True)

    def _draw(self, states: GridState) -> None:
        for name in [name for name in self.tasks if name and name not in states]:
            self.progress.remove_task(self.tasks.pop(name))
        for name, state in states.items():
            if len(states) <= MOST_LINES or state.status == "training":
                limit = self.limits[name]
                done = state.progress.seconds if limit.get("seconds") else state.progress.step
                total = limit.get("seconds") or limit["steps"]
                done = total if state.status == "finished" else done
                self._bar(name, name, done, total, self._text(name, state))
            elif name in self.tasks:
                self.progress.remove_task(self.tasks.pop(name))

    def _bar(self, key: str, name: str, done: float, total: float, text: str) -> None:
        if key not in self.tasks:
            self.tasks[key] = self.progress.add_task(name, total=total, text="")
        self.progress.update(self.tasks[key], completed=done, total=total, text=text)

    def _text(self, name: str, state: CellState) -> str:
        progress, limit = state.progress, self.limits[name]
        if state.status == "waiting":
            return "waits"
        if state.status == "failed":
            return f"failed: {state.error}"
        of = f"{progress.seconds:.3g} of {limit['seconds']:g} s, " if limit.get("seconds") else ""
        total = "" if limit.get("seconds") else f" of {limit['steps']}"
        diverged = f", diverged: seed {', '.join(map(str, progress.diverged))}" if progress.diverged else ""
        return f"{of}step {progress.step}{total}{diverged}"


def _counts(states: GridState) -> str:
    statuses = [state.status for state in states.values()]
    parts = [f"{statuses.count('finished')} of {len(statuses)} finished"]
    parts += [f"{statuses.count('training')} in training"] if "training" in statuses else []
    parts += [f"{statuses.count('failed')} failed"] if "failed" in statuses else []
    return ", ".join(parts)
