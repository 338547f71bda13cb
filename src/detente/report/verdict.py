"""The verdict in plain words, computed from the data and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from detente.report.escape import shown_interval, shown_number, text
from detente.report.run import Run
from detente.report.standing import Standing
from detente.report.statistics import final_cost

UNEQUAL = 1.01


def verdict(runs: Sequence[Run], standings: Sequence[Standing]) -> str:
    """Return the sentences of the verdict as HTML, every name escaped."""
    sentences = [_overview(runs)]
    primary = [standing for standing in standings if standing.better != "none"]
    sentences += [_standing(runs, standing) for standing in primary if len(runs) == 1 or standing.alone is None]
    if len(runs) > 1:
        sentences += _not_compared(runs, primary)
    if not primary:
        sentences.append("No metric with a better direction was recorded, so no run is called best.")
    sentences += [*_divergences(runs), *_unfinished(runs), *_budgets(runs)]
    return " ".join(sentences)


def listed(parts: Iterable[str]) -> str:
    """Return ``a, b and c``."""
    items = list(parts)
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def _name(run: Run) -> str:
    return f"<strong>{text(run.name)}</strong>"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _overview(runs: Sequence[Run]) -> str:
    seeds = sorted({len(run.seeds) for run in runs})
    many = _count(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    if len(runs) == 1:
        return f"One run, {_name(runs[0])}, with {many}."
    return f"{len(runs)} runs are compared, with {many} each."


def _standing(runs: Sequence[Run], standing: Standing) -> str:
    title = text(standing.title)
    if not standing.best:
        return f"{title}: no seed of any run reached a final value."
    first = standing.best[0]
    outcome = standing.outcomes[first].interval
    assert outcome is not None, "a best run has an interval"
    value = text(f"{shown_interval(outcome)} {standing.unit}".strip())
    counted = f"{value} ({_count(outcome.n, 'seed')})"
    if len(runs) == 1:
        return f"{title}: {counted}."
    if standing.winner is not None:
        apart = "its 95 % interval is apart from every other run’s"
        return f"{title}: {_name(runs[first])} is best with {counted}; {apart}."
    direction = "highest" if standing.better == "higher" else "lowest"
    if len(standing.best) > 1:
        has = f"{listed(_name(runs[index]) for index in standing.best)} share the {direction} mean, {value}"
    else:
        has = f"{_name(runs[first])} has the {direction} mean, {counted}"
    if not standing.reason:
        return f"{title}: {has}; no other run has a final value to compare."
    if standing.overlapping and standing.reason.endswith("overlap"):
        others = listed(_name(runs[index]) for index in standing.overlapping)
        whose = "its" if len(standing.best) == 1 else "the first’s"
        return f"{title}: {has}, but {whose} 95 % interval overlaps that of {others}, so no winner is claimed."
    return f"{title}: {has}, but {standing.reason}, so no winner is claimed."


def _not_compared(runs: Sequence[Run], standings: Sequence[Standing]) -> Iterable[str]:
    for index, run in enumerate(runs):
        titles = [text(standing.title) for standing in standings if standing.alone == index]
        if titles:
            yield f"Only {_name(run)} was measured by {listed(titles)}, so there is nothing to compare them with."


def _divergences(runs: Sequence[Run]) -> Iterable[str]:
    for run in runs:
        if run.diverged:
            steps = listed(f"seed {seed} at step {run.seeds[seed].diverged_at or 0:,}" for seed in run.diverged)
            extent = f"in {len(run.diverged)} of {_count(len(run.seeds), 'seed')}"
            yield f"{_name(run)} <em>diverged</em> {extent} ({steps})."
    if not any(run.diverged for run in runs):
        yield "No seed diverged."


def _unfinished(runs: Sequence[Run]) -> Iterable[str]:
    words = {"running": "still running", "interrupted": "interrupted", "unknown": "of unknown status"}
    for run in runs:
        for status, said in words.items():
            seeds = [seed for seed, entry in run.seeds.items() if entry.status == status]
            if seeds:
                where = listed(f"seed {seed} at step {run.seeds[seed].step:,}" for seed in seeds)
                yield f"{_name(run)} is {said} ({where}): its values are the latest, not the final ones."


def _budgets(runs: Sequence[Run]) -> Iterable[str]:
    costs = [cost.mean for run in runs if (cost := final_cost(run, "gradient_evaluations"))]
    if len(costs) > 1 and max(costs) > UNEQUAL * min(costs):
        span = f"from {shown_number(min(costs))} to {shown_number(max(costs))}"
        yield f"The runs spent unequal numbers of gradient evaluations, {span}; the curves compare them at equal cost."
