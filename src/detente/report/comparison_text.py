"""A comparison in words, for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from detente.report.comparison import BaselineComparison
from detente.report.formatting import format_count, format_difference, format_p_value
from detente.report.paired_differences import PairedDifference
from detente.report.ranking import Ranking
from detente.report.recorded_run import RecordedRun


def describe_pair(pair: PairedDifference) -> list[str]:
    """Return short lines: the summary with the difference, the p-value, why there is no summary, and lost seeds."""
    difference = format_difference(pair.difference) if pair.difference else ""
    lines = [
        f"{pair.conclusion}: {difference}" if pair.conclusion else difference,
        format_p_value(pair.corrected) if pair.unequal else "",
        pair.reason,
        f"{format_count(len(pair.lost), 'seed')} lost" if pair.lost else "",
        f"baseline: {format_count(len(pair.baseline_lost), 'seed')} lost" if pair.baseline_lost else "",
    ]
    return [line for line in lines if line]


def comparison_sentences(
    runs: Sequence[RecordedRun], rankings: Sequence[Ranking], comparison: BaselineComparison
) -> list[str]:
    """Return one sentence for each run that is compared with the baseline."""
    baseline = runs[comparison.baseline].name
    sentences = []
    for index in sorted({index for row in comparison.pairs for index in row}):
        metrics: dict[str, list[str]] = {"better": [], "worse": [], "": []}
        for ranking, row in zip(rankings, comparison.pairs, strict=True):
            if index in row:
                conclusion = row[index].conclusion
                metrics[conclusion].append(ranking.title + (_size(row[index], ranking.unit) if conclusion else ""))
        clauses = [f"{v} than {baseline}: {', '.join(metrics[v])}" for v in ("better", "worse") if metrics[v]]
        if metrics[""]:
            clauses.append(f"no significant difference from {baseline}: {', '.join(metrics[''])}")
        sentences.append(f"{runs[index].name}: {'; '.join(clauses)}.")
    return sentences


def describe_tests(comparison: BaselineComparison) -> str:
    """Return the budget, the number of seeds and the statistical test in words."""
    counts = {pair.difference.n for row in comparison.pairs for pair in row.values() if pair.difference}
    seeds = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(*counts) if counts else "no"
    correction = "" if comparison.tests < 2 else f", with Holm’s correction for {comparison.tests} tests"
    budget = f"Each seed had {comparison.comparison.budget} at most. " if comparison.comparison.budget else ""
    if not any(comparison.pairs):
        return f"{budget}No metric that ranks runs was measured, so they are not compared; --metrics adds one."
    return (
        f"{budget}Differences over {seeds} paired seeds with their Student-t 95 % intervals; "
        f"p-values of the two-sided Wilcoxon signed-rank test{correction}."
    )


def tuning_lines(comparison: BaselineComparison) -> Iterable[str]:
    """Yield one line for each method whose learning rate was tuned, for the terminal."""
    for name, sweep in comparison.comparison.tuning.items():
        rate = f": learning rate {best}" if (best := format_best_rate(sweep)) else ""
        remark = f"; {sweep['remark']}" if sweep.get("remark") else ""
        yield f"{name}{rate}{remark}."


def format_best_rate(sweep: Mapping[str, Any]) -> str:
    """Return the learning rate that a sweep chose, or an empty string if it chose none."""
    best = sweep.get("best")
    return f"{best:g}" if isinstance(best, int | float) else ""


def format_trials(sweep: Mapping[str, Any]) -> list[str]:
    """Return ``0.001: 7.3`` for every rate of a sweep: the mean of the deciding metric, or how many seeds diverged."""
    texts = []
    trials = sweep.get("trials")
    for trial in trials if isinstance(trials, list) else ():
        if isinstance(trial, dict) and isinstance(trial.get("rate"), int | float):
            diverged, mean = trial.get("diverged"), trial.get("mean")
            value = f"{mean:.4g}" if isinstance(mean, int | float) else "no value"
            if isinstance(diverged, list) and diverged:
                value = f"{len(diverged)} diverged"
            texts.append(f"{trial['rate']:g}: {value}")
    return texts


def _size(pair: PairedDifference, unit: str) -> str:
    difference = format_difference(pair.difference)
    if unit:
        difference = difference.replace(" [", f" {unit} [")
    return f" ({difference}, {format_p_value(pair.corrected)})"
