"""Plotly figures of the curves: one chart for each quantity, with one line and band for each run."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

from detente.report import palette
from detente.report.formatting import format_interval, round_significant
from detente.report.recorded_run import Quantity, RecordedRun, describe_quantity, quantities
from detente.report.statistics import Curve, curve, final_outcome

WIDE_RATIO = 30.0  # largest mean over smallest mean from which the axis starts out logarithmic
HOVER = "%{y:.4~g} · step %{customdata[0]} · %{customdata[1]} seed(s)<extra>%{fullData.name}</extra>"


def plotly_text(value: object) -> str:
    """Escape `value` for Plotly, which interprets some tags and ``%{...}`` in names and labels."""
    return html.escape(str(value), quote=False).replace("%{", "%&#123;")


def figure_json(figure: go.Figure) -> dict[str, Any]:
    """Return a figure as plain JSON values, without Plotly's default template."""
    figure.layout.template = None
    return json.loads(figure.to_json() or "{}")


def curve_charts(runs: Sequence[RecordedRun]) -> list[dict[str, Any]]:
    """Return one chart for each quantity, in reading order, with its heading and description."""
    return [chart for quantity in quantities(runs) if (chart := _curve_chart(runs, quantity))]


def _curve_chart(runs: Sequence[RecordedRun], quantity: Quantity) -> dict[str, Any] | None:
    curves = {index: line for index, run in enumerate(runs) if (line := curve(run, quantity))}
    if not curves:
        return None
    figure, axes = go.Figure(), []
    for index, line in curves.items():
        _add_curve(figure, runs[index], index, line, len(axes))
        axes.append(_axes(line, range(len(line.steps))))
        diverged_at = [status.diverged_at or 0 for status in runs[index].seeds.values() if status.diverged]
        if diverged_at:
            _add_divergences(figure, runs[index], index, line, diverged_at, len(axes))
            axes.append(_axes(line, [_last_before(line, step) for step in diverged_at]))
    layout = {"showlegend": False, "hovermode": "closest", "margin": {"l": 8, "r": 10, "t": 8, "b": 8}}
    figure.update_layout(layout)
    means = [value for line in curves.values() for value in line.mean]
    positive = min(means) > 0
    metric = describe_quantity(runs, quantity)
    return {
        "group": quantity[0],
        "title": metric.title,
        "unit": metric.unit,
        "better": metric.better,
        "measured": metric.measured,
        "logarithmic": positive and max(means) > WIDE_RATIO * min(means),
        "ranges": [
            _vertical_range(curves.values(), float),
            _vertical_range(curves.values(), math.log10) if positive else None,
        ],
        "axes": axes,
        "description": _description(runs, quantity, curves),
        "figure": figure_json(figure),
    }


def _add_curve(figure: go.Figure, run: RecordedRun, index: int, line: Curve, axis: int) -> None:
    """Add the mean, and with several seeds the band between its lower and its upper edge."""
    name, edge = plotly_text(run.name), {"width": 0, "color": palette.colour(index)}
    band: dict[str, Any] = {"x": line.steps, "mode": "lines", "line": edge, "hoverinfo": "skip", "name": name}
    meta = {"run": index, "axis": axis}
    if max(line.n) > 1:
        fill = {"fill": "tonexty", "fillcolor": palette.translucent(index, 0.15)}
        figure.add_scatter(y=_rounded(line.low), meta={**meta, "role": "low"}, **band)
        figure.add_scatter(y=_rounded(line.high), meta={**meta, "role": "high"}, **fill, **band)
    figure.add_scatter(
        x=line.steps,
        y=_rounded(line.mean),
        mode="lines" if len(line.steps) > 1 else "markers",
        line={"width": 2, "color": palette.colour(index), "dash": palette.dash(index)},
        name=name,
        customdata=list(zip(line.steps, line.n, strict=True)),
        hovertemplate=HOVER,
        meta={**meta, "role": "mean"},
    )


def _add_divergences(figure: go.Figure, run: RecordedRun, index: int, line: Curve, steps: list[int], axis: int) -> None:
    positions = [_last_before(line, step) for step in steps]
    figure.add_scatter(
        x=[line.steps[position] for position in positions],
        y=_rounded([line.mean[position] for position in positions]),
        mode="markers",
        marker={"symbol": "x", "size": 9, "color": palette.colour(index), "line": {"width": 1, "color": "white"}},
        name=plotly_text(run.name),
        customdata=steps,
        hovertemplate="a seed diverged at step %{customdata}<extra>%{fullData.name}</extra>",
        meta={"run": index, "axis": axis, "role": "diverged"},
    )


def _last_before(line: Curve, step: int) -> int:
    return max((position for position, at in enumerate(line.steps) if at <= step), default=0)


def _axes(line: Curve, positions: Sequence[int]) -> list[list[float | None]]:
    columns = (line.steps, line.gradient_evaluations, line.seconds)
    return [[round_significant(column[position], 7) for position in positions] for column in columns]


def _rounded(values: Sequence[float]) -> list[float | None]:
    return [round_significant(value) for value in values]


def _vertical_range(curves: Iterable[Curve], scale: Callable[[float], float]) -> list[float | None]:
    """Return the range on `scale`: all means, and as much of the bands as leaves the means readable."""
    lines = list(curves)
    means = [scale(value) for line in lines for value in line.mean]
    low, high = min(means), max(means)
    reach = 0.4 * (high - low) or 0.1 * abs(high) or 0.1
    lows = [scale(value) if scale is float or value > 0 else -math.inf for line in lines for value in line.low]
    highs = [scale(value) for line in lines for value in line.high]
    margin = 0.05 * (high - low + 2 * reach)
    return _rounded([max(min(lows), low - reach) - margin, min(max(highs), high + reach) + margin])


def _description(runs: Sequence[RecordedRun], quantity: Quantity, curves: dict[int, Curve]) -> str:
    """Return the final values in words, for readers who cannot see the chart."""
    parts = []
    for index in curves:
        interval = final_outcome(runs[index], quantity).interval
        end = f"ends at {format_interval(interval)}" if interval else "has no final value"
        parts.append(f"{runs[index].name} {end}")
    return "; ".join(parts) + "."
