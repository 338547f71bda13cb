"""The page's tables and folds as HTML, every string escaped."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import yaml

from detente.report import palette
from detente.report.charts import ARROWS
from detente.report.differences import differences
from detente.report.escape import shown_interval, text
from detente.report.run import Run
from detente.report.standing import Standing
from detente.report.statistics import Outcome, final_cost

COSTS = (
    ("seconds", "Time", "s"),
    ("steps_per_second", "Speed", "steps/s"),
    ("gradient_evaluations", "Gradients", "evaluations"),
    ("memory", "Peak memory", "MiB"),
)
FEW = 4  # metrics that stand beside one another
ABSENT = '<span class="absent">—</span>'


def swatch(index: int) -> str:
    """Return the run's coloured line, as in the curves."""
    style = f"border-top-color:{palette.colour(index)};border-top-style:{palette.border(index)}"
    return f'<span class="swatch" style="{style}" aria-hidden="true"></span>'


def table(caption: str, head: Sequence[str], rows: Sequence[str]) -> str:
    """Return a table in a container that scrolls by itself; `head` and `rows` are HTML."""
    cells = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table>'
        f"<caption>{text(caption)}</caption><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def final_table(runs: Sequence[Run], standings: Sequence[Standing]) -> str:
    """Return the final table: mean and 95 % interval of each metric, status and cost of each run.

    A row is a run, or where there are many metrics, a metric.
    """
    executions = {run.execution for run in runs}
    columns = [(_heading(one), [_result(one, index, run) for index, run in enumerate(runs)]) for one in standings]
    columns.append(("Status", [f"<td>{_status(run)}</td>" for run in runs]))
    columns += [(f"{title}{_unit(unit)}", [_cost(run, key) for run in runs]) for key, title, unit in COSTS]
    if len(executions) > 1:
        columns.append(("Execution", [f'<td class="words">{text(run.execution) or ABSENT}</td>' for run in runs]))
    names = [f"{swatch(index)}{text(run.name)}" for index, run in enumerate(runs)]
    headings, cells = [heading for heading, _ in columns], [column for _, column in columns]
    caption = "Last measurement of every run"
    if many(standings, runs):
        shown = table(caption, ["Metric", *names], _rows(headings, cells))
    else:
        shown = table(caption, ["Run", *headings], _rows(names, list(zip(*cells, strict=True))))
    alike = executions.pop() if len(executions) == 1 else ""
    said = f'<p class="quiet">Executed on {text(alike)}.</p>' if alike else ""
    return shown + said


def difference_table(runs: Sequence[Run]) -> str:
    """Return the table of configuration keys whose values are not the same in all runs."""
    if len(runs) == 1:
        return '<p class="quiet">There is one run, so there is nothing to tell apart.</p>'
    found = differences([run.configuration for run in runs])
    if not found:
        return '<p class="quiet">The recorded configurations are equal in every key.</p>'
    head = ["Key", *(f"{swatch(index)}{text(run.name)}" for index, run in enumerate(runs))]
    rows = []
    for row in found:
        cells = "".join(
            f"<td><code>{text(v)}</code></td>" if v is not None else f"<td>{ABSENT}</td>" for v in row.values
        )
        rows.append(f'<th scope="row"><code>{text(row.key)}</code></th>{cells}')
    return table("Configuration keys that differ", head, rows)


def configurations(runs: Sequence[Run]) -> str:
    """Return one fold a run: how to run it again, versions, the whole configuration, what could not be read."""
    folds = []
    for index, run in enumerate(runs):
        shown = yaml.safe_dump(dict(run.configuration), sort_keys=False, allow_unicode=True, width=100)
        shown = shown if run.configuration else "No configuration was recorded."
        notes = "".join(f"<li>{text(note)}</li>" for note in run.notes)
        folds.append(
            f"<details><summary>{swatch(index)}{text(run.name)}</summary>"
            f"<p>Run it again:</p><pre><code>{text(command(run))}</code></pre>"
            + (f'<p>What could not be read:</p><ul class="notes">{notes}</ul>' if notes else "")
            + f"<p>Resolved configuration, versions and machine:</p><pre><code>{text(shown)}</code></pre></details>"
        )
    return "".join(folds)


def command(run: Run) -> str:
    """Return the command that the run recorded, else the one that trains from its resolved configuration."""
    recorded = run.configuration.get("command")
    if isinstance(recorded, list):
        return shlex.join(map(str, recorded))
    return str(recorded) if recorded else shlex.join(["detente", "train", "--config", str(run.path / "run.yaml")])


def many(standings: Sequence[Standing], runs: Sequence[Run]) -> bool:
    """Return whether there are so many metrics that they stand below one another, the runs side by side."""
    return len(standings) > max(len(runs), FEW)


def _heading(standing: Standing) -> str:
    arrow, words = ARROWS[standing.better], f"{standing.better} is better"
    said = f' <span class="arrow" title="{words}">{arrow}</span>' if arrow else ""
    return f"{text(standing.title)}{said}{_unit(standing.unit)}"


def _result(standing: Standing, index: int, run: Run) -> str:
    best = ' class="best"' if standing.winner == index else ""
    return f"<td{best}>{_outcome(standing.outcomes[index], len(run.seeds))}</td>"


def _cost(run: Run, key: str) -> str:
    cost = final_cost(run, key)
    return f"<td>{text(shown_interval(cost)) if cost else ABSENT}</td>"


def _rows(names: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    return [f'<th scope="row">{name}</th>{"".join(row)}' for name, row in zip(names, cells, strict=True)]


def _unit(unit: str) -> str:
    return f' <span class="unit">({text(unit)})</span>' if unit else ""


def _outcome(outcome: Outcome, seeds: int) -> str:
    if outcome.interval is None:
        why = "all diverged" if len(outcome.diverged) == seeds and seeds else "not measured"
        return f'{ABSENT}<span class="count">{why}</span>'
    whole = "" if outcome.complete else f" of {seeds}"
    return f'{text(shown_interval(outcome.interval))}<span class="count">n = {outcome.interval.n}{whole}</span>'


def _status(run: Run) -> str:
    lines = []
    for status in dict.fromkeys(entry.status for entry in run.seeds.values()):
        seeds = [seed for seed, entry in run.seeds.items() if entry.status == status]
        kind = status if status in ("finished", "running", "diverged", "interrupted") else "unknown"
        where = "".join(
            f'<span class="count">seed {seed} at step {run.seeds[seed].diverged_at or 0:,}</span>'
            for seed in seeds
            if run.seeds[seed].diverged
        )
        lines.append(f'<span class="status {kind}">{len(seeds)} {text(status)}</span>{where}')
    return "".join(lines) or ABSENT
