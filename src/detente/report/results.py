"""The data of the page's tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from detente.report.comparison import BaselineComparison
from detente.report.comparison_text import describe_pair, format_best_rate, format_trials
from detente.report.formatting import format_interval
from detente.report.ranking import Ranking
from detente.report.recorded_run import RecordedRun
from detente.report.statistics import FinalValues, final_cost

COSTS = (
    ("seconds", "Time", "s"),
    ("steps_per_second", "Speed", "steps/s"),
    ("gradient_evaluations", "Gradients", "evaluations"),
    ("memory", "Peak memory", "MiB"),
)
MOST_COLUMNS = 4  # metrics that fit side by side
STATUSES = ("finished", "running", "diverged", "interrupted")


@final
@dataclass(frozen=True)
class StatusCount:
    """The seeds of a run that share a status.

    Args:
        status: as recorded.
        kind: class of the style sheet.
        count: number of seeds.
        notes: where each seed diverged.
    """

    status: str
    kind: str
    count: int
    notes: tuple[str, ...]


@final
@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Args:
        text: main line; an empty string is shown as a dash.
        notes: smaller lines below it.
        style: class of the style sheet.
        statuses: shown instead of `text` if there are any.
    """

    text: str = ""
    notes: tuple[str, ...] = ()
    style: str = ""
    statuses: tuple[StatusCount, ...] = ()


@final
@dataclass(frozen=True)
class Column:
    """One column of a table: its heading, with how a metric was measured, and one cell for each run."""

    title: str
    cells: tuple[Cell, ...]
    unit: str = ""
    better: str = "none"
    measured: str = ""


@final
@dataclass(frozen=True)
class RunTable:
    """A table with one row for each of some runs.

    Args:
        caption: of the table.
        runs: positions of the runs.
        columns: one for each heading, with cells in the order of `runs`.
    """

    caption: str
    runs: tuple[int, ...]
    columns: tuple[Column, ...]


def results_table(runs: Sequence[RecordedRun], rankings: Sequence[Ranking]) -> RunTable:
    """Return the last measurement of every run: each metric with its 95 % interval, status and cost."""
    columns = [_metric_column(runs, ranking) for ranking in rankings]
    columns.append(Column("Status", tuple(Cell(statuses=_status_counts(run)) for run in runs)))
    for key, title, unit in COSTS:
        costs = [final_cost(run, key) for run in runs]
        columns.append(Column(title, tuple(Cell(format_interval(cost) if cost else "") for cost in costs), unit))
    if common_execution(runs) is None:
        columns.append(Column("Execution", tuple(Cell(run.execution, style="words") for run in runs)))
    return RunTable("Last measurement of every run", tuple(range(len(runs))), tuple(columns))


def common_execution(runs: Sequence[RecordedRun]) -> str | None:
    """Return how all runs were executed, or None if that differs between the runs."""
    executions = {run.execution for run in runs}
    return executions.pop() if len(executions) == 1 else None


def metrics_as_rows(rankings: Sequence[Ranking], runs: Sequence[RecordedRun]) -> bool:
    """Return whether there are so many metrics that each gets a row, and each run a column."""
    return len(rankings) > max(len(runs), MOST_COLUMNS)


def paired_table(runs: Sequence[RecordedRun], rankings: Sequence[Ranking], comparison: BaselineComparison) -> RunTable:
    """Return the table of every run against the baseline."""
    measured = [(ranking, row) for ranking, row in zip(rankings, comparison.pairs, strict=True) if row]
    indices = tuple(sorted({index for _, row in measured for index in row}))
    columns = []
    for ranking, row in measured:
        cells = []
        for index in indices:
            text, *notes = describe_pair(row[index]) if index in row else [""]
            style = "best" if index in row and row[index].conclusion == "better" else ""
            cells.append(Cell(text, tuple(notes), style))
        columns.append(Column(ranking.title, tuple(cells), ranking.unit, measured=ranking.measured))
    return RunTable(f"Against {runs[comparison.baseline].name}, seed by seed", indices, tuple(columns))


def tuning_table(runs: Sequence[RecordedRun], comparison: BaselineComparison) -> RunTable:
    """Return the table of the learning rates that were tried before training."""
    positions = {run.path.name: index for index, run in enumerate(runs)}
    sweeps = {positions[name]: s for name, s in comparison.comparison.tuning.items() if name in positions}
    columns = (
        Column("Chosen", tuple(Cell(format_best_rate(sweep)) for sweep in sweeps.values())),
        Column("Tried", tuple(Cell("; ".join(format_trials(sweep)), style="words") for sweep in sweeps.values())),
        Column("Remark", tuple(Cell(str(sweep.get("remark") or ""), style="words") for sweep in sweeps.values())),
    )
    return RunTable("Learning rates swept beforehand, on other seeds", tuple(sweeps), columns)


def _metric_column(runs: Sequence[RecordedRun], ranking: Ranking) -> Column:
    cells = [
        _outcome_cell(outcome, len(run.seeds), ranking.winner == index, ranking.earlier.get(index))
        for index, (run, outcome) in enumerate(zip(runs, ranking.outcomes, strict=True))
    ]
    return Column(ranking.title, tuple(cells), ranking.unit, ranking.better, ranking.measured)


def _outcome_cell(outcome: FinalValues, seeds: int, best: bool, earlier: int | None) -> Cell:
    if outcome.interval is None:
        return Cell(notes=("all diverged" if seeds and len(outcome.diverged) == seeds else "not measured",))
    total = "" if outcome.complete else f" of {seeds}"
    notes = (f"n = {outcome.interval.n}{total}", *([] if earlier is None else [f"at step {earlier:,}"]))
    return Cell(format_interval(outcome.interval), notes, style="best" if best else "")


def _status_counts(run: RecordedRun) -> tuple[StatusCount, ...]:
    counts = []
    for status in dict.fromkeys(seed.status for seed in run.seeds.values()):
        seeds = {number: seed for number, seed in run.seeds.items() if seed.status == status}
        notes = tuple(
            f"seed {n} at step {s.diverged_at or 0:,}{': ' if s.cause else ''}{s.cause}"
            for n, s in seeds.items()
            if s.diverged
        )
        counts.append(StatusCount(status, status if status in STATUSES else "unknown", len(seeds), notes))
    return tuple(counts)
