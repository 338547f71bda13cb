"""The data of the sentences at the top of the page, which the template ``summary.html`` puts into words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from detente.report.ranking import Ranking
from detente.report.recorded_run import RecordedRun
from detente.report.statistics import final_cost

UNEQUAL = 1.01  # ratio of costs above which the page mentions that they differ
UNFINISHED = {"running": "still running", "interrupted": "interrupted", "unknown": "of unknown status"}


@final
@dataclass(frozen=True)
class Summary:
    """The content of the sentences. Runs are given by their positions.

    Args:
        seed_counts: smallest and largest number of seeds of a run.
        rankings: by the metrics that have a direction and that several runs measured.
        single_run_metrics: titles of the metrics that a run alone measured, by run.
        has_direction: whether any metric has a direction.
        unfinished: (run, status in words, its seeds) for every run with seeds that are not finished.
        gradient_evaluations: fewest and most gradient evaluations of a run; None if the runs used equally many.
    """

    seed_counts: tuple[int, int]
    rankings: tuple[Ranking, ...]
    single_run_metrics: dict[int, list[str]]
    has_direction: bool
    unfinished: tuple[tuple[int, str, tuple[int, ...]], ...]
    gradient_evaluations: tuple[float, float] | None


def make_summary(runs: Sequence[RecordedRun], rankings: Sequence[Ranking]) -> Summary:
    """Return the data of the sentences at the top of the page."""
    counts = [len(run.seeds) for run in runs]
    directed = [ranking for ranking in rankings if ranking.better != "none"]
    single: dict[int, list[str]] = {}
    for index in range(len(runs)) if len(runs) > 1 else ():
        titles = [ranking.title for ranking in directed if ranking.only_run == index]
        if titles:
            single[index] = titles
    compared = [ranking for ranking in directed if len(runs) == 1 or ranking.only_run is None]
    return Summary(
        (min(counts), max(counts)), tuple(compared), single, bool(directed), _unfinished(runs), _unequal_costs(runs)
    )


def _unfinished(runs: Sequence[RecordedRun]) -> tuple[tuple[int, str, tuple[int, ...]], ...]:
    entries = []
    for index, run in enumerate(runs):
        for status, words in UNFINISHED.items():
            seeds = tuple(seed for seed, entry in run.seeds.items() if entry.status == status)
            if seeds:
                entries.append((index, words, seeds))
    return tuple(entries)


def _unequal_costs(runs: Sequence[RecordedRun]) -> tuple[float, float] | None:
    costs = [cost.mean for run in runs if (cost := final_cost(run, "gradient_evaluations"))]
    if len(costs) > 1 and max(costs) > UNEQUAL * min(costs):
        return min(costs), max(costs)
    return None
