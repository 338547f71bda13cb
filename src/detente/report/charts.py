"""Plotly figures of the curves: one small chart a quantity, one line and band a run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

from detente.report import palette
from detente.report.escape import plotly_text, rounded, shown_interval
from detente.report.run import Quantity, Run
from detente.report.statistics import Curve, curve, final_outcome

ARROWS = {"higher": "↑", "lower": "↓", "none": ""}
HEADINGS = {"metrics": "Metrics", "losses": "Losses", "gradient_norm": "Gradient norms"}
WIDE_RANGE = 30.0
HOVER = "%{y:.4~g} · step %{customdata[0]} · %{customdata[1]} seed(s)<extra>%{fullData.name}</extra>"


def quantities(runs: Sequence[Run]) -> list[Quantity]:
    """Return every quantity any run measured: metrics first, then losses, then gradient norms."""
    found = {q: None for run in runs for ticks in run.ticks.values() for tick in ticks for q in tick.values}
    order = list(HEADINGS)
    return sorted(found, key=lambda quantity: order.index(quantity[0]))


def metric_texts(runs: Sequence[Run], quantity: Quantity) -> tuple[str, str, str]:
    """Return (title, unit, better) of a quantity, from the first run that describes it."""
    group, name = quantity
    if group != "metrics":
        kind = "loss" if group == "losses" else "gradient norm"
        return f"{name.replace('_', ' ').capitalize()}: {kind}", "", "none"
    metric = next(run.metrics[name] for run in runs if name in run.metrics)
    return metric.title, metric.unit, metric.better


def plain(figure: go.Figure) -> dict[str, Any]:
    """Return a figure as plain JSON values, without Plotly's default template."""
    figure.layout.template = None
    return json.loads(figure.to_json() or "{}")


def curve_charts(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return one chart a quantity, in reading order, each with what the page needs around it."""
    return [chart for quantity in quantities(runs) if (chart := _curve_chart(runs, quantity))]


def _curve_chart(runs: Sequence[Run], quantity: Quantity) -> dict[str, Any] | None:
    title, unit, better = metric_texts(runs, quantity)
    curves = {index: line for index, run in enumerate(runs) if (line := curve(run, quantity))}
    if not curves:
        return None
    figure, axes = go.Figure(), []
    for index, line in curves.items():
        _add_curve(figure, runs[index], index, line, len(axes))
        axes.append(_axes(line, range(len(line.steps))))
        lost = [status.diverged_at for status in runs[index].seeds.values() if status.diverged]
        if lost:
            _add_divergences(figure, runs[index], index, line, [at or 0 for at in lost], len(axes))
            axes.append(_axes(line, [_last_before(line, at or 0) for at in lost]))
    layout = {"showlegend": False, "hovermode": "closest", "margin": {"l": 8, "r": 10, "t": 8, "b": 8}}
    figure.update_layout(layout)
    values = [value for line in curves.values() for value in line.mean]
    positive = min(values) > 0
    return {
        "group": quantity[0],
        "title": title,
        "unit": unit,
        "better": better,
        "logarithmic": positive and max(values) > WIDE_RANGE * min(values),
        "ranges": [_window(curves.values(), float), _window(curves.values(), math.log10) if positive else None],
        "axes": axes,
        "description": _description(runs, quantity, curves),
        "figure": plain(figure),
    }


def _add_curve(figure: go.Figure, run: Run, index: int, line: Curve, axis: int) -> None:
    """Add the band's lower and upper edge (filled between) and the mean."""
    name, edge = plotly_text(run.name), {"width": 0, "color": palette.colour(index)}
    quiet: dict[str, Any] = {"x": line.steps, "mode": "lines", "line": edge, "hoverinfo": "skip", "name": name}
    meta = {"run": index, "axis": axis}
    if max(line.n) > 1:
        fill = {"fill": "tonexty", "fillcolor": palette.translucent(index, 0.15)}
        figure.add_scatter(y=_short(line.low), meta={**meta, "role": "low"}, **quiet)
        figure.add_scatter(y=_short(line.high), meta={**meta, "role": "high"}, **fill, **quiet)
    figure.add_scatter(
        x=line.steps,
        y=_short(line.mean),
        mode="lines" if len(line.steps) > 1 else "markers",
        line={"width": 2, "color": palette.colour(index), "dash": palette.dash(index)},
        name=name,
        customdata=list(zip(line.steps, line.n, strict=True)),
        hovertemplate=HOVER,
        meta={**meta, "role": "mean"},
    )


def _add_divergences(figure: go.Figure, run: Run, index: int, line: Curve, steps: list[int], axis: int) -> None:
    places = [_last_before(line, step) for step in steps]
    figure.add_scatter(
        x=[line.steps[place] for place in places],
        y=[rounded(line.mean[place]) for place in places],
        mode="markers",
        marker={"symbol": "x", "size": 9, "color": palette.colour(index), "line": {"width": 1, "color": "white"}},
        name=plotly_text(run.name),
        customdata=steps,
        hovertemplate="a seed diverged at step %{customdata}<extra>%{fullData.name}</extra>",
        meta={"run": index, "axis": axis, "role": "diverged"},
    )


def _last_before(line: Curve, step: int) -> int:
    return max((k for k, at in enumerate(line.steps) if at <= step), default=0)


def _axes(line: Curve, places: Sequence[int]) -> list[list[float | None]]:
    columns = (line.steps, line.gradient_evaluations, line.seconds)
    return [[rounded(column[k], 7) for k in places] for column in columns]


def _short(values: Sequence[float]) -> list[float | None]:
    return [rounded(value) for value in values]


def _window(curves: Iterable[Curve], scale: Callable[[float], float]) -> list[float | None]:
    """Return the vertical range on `scale`: all means, and as much of the bands as leaves the means readable."""
    lines = list(curves)
    means = [scale(value) for line in lines for value in line.mean]
    low, high = min(means), max(means)
    reach = 0.4 * (high - low) or 0.1 * abs(high) or 0.1
    lows = [scale(v) if scale is float or v > 0 else -math.inf for line in lines for v in line.low]
    highs = [scale(value) for line in lines for value in line.high]
    margin = 0.05 * (high - low + 2 * reach)
    return [rounded(max(min(lows), low - reach) - margin), rounded(min(max(highs), high + reach) + margin)]


def _description(runs: Sequence[Run], quantity: Quantity, curves: dict[int, Curve]) -> str:
    """Return in words what the chart shows last, for readers who cannot see it."""
    parts = []
    for index in curves:
        outcome = final_outcome(runs[index], quantity)
        ends = f"ends at {shown_interval(outcome.interval)}" if outcome.interval else "has no final value"
        parts.append(f"{runs[index].name} {ends}")
    return "; ".join(parts) + "."
