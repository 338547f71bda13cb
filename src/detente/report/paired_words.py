"""Pairs and sweeps in words, for the page and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from detente.report.comparison import Against
from detente.report.escape import shown_number, text
from detente.report.pairs import Pair
from detente.report.run import Run
from detente.report.standing import Standing
from detente.report.tables import ABSENT, swatch, table


def shown_gap(pair: Pair) -> str:
    """Return ``+1.2 [0.4, 2.0]``: a difference with its interval, as far as there are any."""
    gap = pair.difference
    if gap is None:
        return "–"
    if not gap.half_width or not 1e-4 < abs(gap.mean) + gap.half_width < 1e6:
        ends = "" if not gap.half_width else f" [{gap.low:.3g}, {gap.high:.3g}]"
        return f"{'+' * (gap.mean > 0)}{shown_number(gap.mean)}{ends}".replace("-", "−")
    decimals = min(6, max(0, 1 - math.floor(math.log10(gap.half_width))))
    shown = f"{gap.mean:+,.{decimals}f} [{gap.low:,.{decimals}f}, {gap.high:,.{decimals}f}]"
    return shown.replace("-", "−")


def shown_p(pair: Pair) -> str:
    """Return ``p = 0.012``, the corrected one."""
    return "p < 0.001" if pair.corrected < 0.001 else f"p = {pair.corrected:.2g}"


def shown_pair(pair: Pair) -> list[str]:
    """Return short lines: what is claimed with the difference, the test, and why nothing is claimed."""
    lines = [f"{pair.verdict}: {shown_gap(pair)}".removeprefix(": "), shown_p(pair) if pair.unequal else ""]
    lost = [f"{len(pair.lost)} lost" if pair.lost else ""]
    lost += [f"baseline: {len(pair.baseline_lost)} lost" if pair.baseline_lost else ""]
    return [line for line in (*lines, pair.reason, *lost) if line and line != "–"]


def sentences(runs: Sequence[Run], ranked: Sequence[Standing], told: Against) -> list[str]:
    """Return one sentence a run, for a reader of plain text."""
    said = []
    name = runs[told.baseline].name
    for index in sorted({index for row in told.pairs for index in row}):
        parts: dict[str, list[str]] = {"better": [], "worse": [], "": []}
        for standing, row in zip(ranked, told.pairs, strict=True):
            if index in row:
                pair = row[index]
                unit = f" {standing.unit}" if standing.unit else ""
                size = f" ({shown_gap(pair).replace(' [', f'{unit} [')}, {shown_p(pair)})" if pair.verdict else ""
                parts[pair.verdict].append(f"{standing.title}{size}")
        claims = [
            f"{verdict} than {name}: {', '.join(parts[verdict])}" for verdict in ("better", "worse") if parts[verdict]
        ]
        claims += [f"no difference from {name} shown: {', '.join(parts[''])}"] if parts[""] else []
        said.append(f"{runs[index].name}: {'; '.join(claims)}.")
    return said


def method_of_test(told: Against) -> str:
    """Return in words how the pairs were tested."""
    seeds = {pair.difference.n for row in told.pairs for pair in row.values() if pair.difference}
    many = f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else str(*seeds) if seeds else "no"
    tests = "" if told.tests < 2 else f", corrected by Holm for {told.tests} tests"
    budget = f"Each seed had {told.comparison.budget} at most. " if told.comparison.budget else ""
    return (
        f"{budget}Differences over {many} paired seeds with their Student-t 95 % intervals; "
        f"p of the two-sided Wilcoxon signed-rank test{tests}."
    )


def paired_table(runs: Sequence[Run], ranked: Sequence[Standing], told: Against | None) -> str:
    """Return the table of every run against the baseline as HTML; nothing where there is no baseline."""
    if told is None:
        return ""
    shown = [(s, row) for s, row in zip(ranked, told.pairs, strict=True) if row]
    head = [
        "Run",
        *(f"{text(s.title)}{f' <span class=unit>({text(s.unit)})</span>' if s.unit else ''}" for s, _ in shown),
    ]
    rows = []
    for index in sorted({index for _, row in shown for index in row}):
        cells = [f'<th scope="row">{swatch(index)}{text(runs[index].name)}</th>']
        for _, row in shown:
            first, *rest = shown_pair(row[index]) if index in row else (["—"])
            best = ' class="best"' if index in row and row[index].verdict == "better" else ""
            cells.append(f"<td{best}>{text(first)}{''.join(f'<span class=count>{text(r)}</span>' for r in rest)}</td>")
        rows.append("".join(cells))
    if not rows:
        return ""
    caption = f"Against {runs[told.baseline].name}, seed by seed"
    return table(caption, head, rows) + f'<p class="quiet">{text(method_of_test(told))}</p>'


def sweep_table(runs: Sequence[Run], told: Against | None) -> str:
    """Return the table of learning rates that were tried beforehand as HTML; nothing where none were."""
    if told is None:
        return ""
    places = {run.path.name: index for index, run in enumerate(runs)}
    rows = []
    for label, sweep in told.comparison.tuning.items():
        if label in places:
            rate = f"{sweep['best']:g}" if isinstance(sweep.get("best"), int | float) else ""
            cells = [f"<td>{text(rate) or ABSENT}</td>", f'<td class="words">{text("; ".join(tried(sweep)))}</td>']
            cells += [f'<td class="words">{text(str(sweep.get("remark") or ""))}</td>']
            rows.append(f'<th scope="row">{swatch(places[label])}{text(label)}</th>' + "".join(cells))
    return (
        table("Learning rates swept beforehand, on other seeds", ["Run", "Chosen", "Tried", "Remark"], rows)
        if rows
        else ""
    )


def swept(told: Against) -> Iterable[str]:
    """Yield one line a swept method, for the terminal."""
    for label, sweep in told.comparison.tuning.items():
        remark = f"; {sweep['remark']}" if sweep.get("remark") else ""
        best = sweep.get("best")
        yield f"{label}: learning rate {best:g}{remark}." if isinstance(best, int | float) else f"{label}{remark}."


def tried(sweep: Mapping[str, Any]) -> list[str]:
    """Return ``0.001: 7.3`` for every rate of a sweep, the mean of what decided; diverged ones say so."""
    said = []
    trials = sweep.get("trials")
    for trial in trials if isinstance(trials, list) else ():
        if isinstance(trial, dict) and isinstance(trial.get("rate"), int | float):
            lost, mean = trial.get("diverged"), trial.get("mean")
            value = f"{mean:.4g}" if isinstance(mean, int | float) else "no value"
            said.append(f"{trial['rate']:g}: {f'{len(lost)} diverged' if isinstance(lost, list) and lost else value}")
    return said
