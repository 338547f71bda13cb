"""Plotly figures of a search: values over trials, over each setting, and over the steps of every trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from detente.report import palette
from detente.report.charts import WIDE_RATIO, figure_json, plotly_text
from detente.report.formatting import format_number, round_significant
from detente.report.run_progress import metric_history

COMPLETE, BEST = palette.colour(0), palette.colour(1)
Trial = Mapping[str, Any]


def trial_chart(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the chart of the values over the trials, with the best so far; empty without values."""
    complete = _with_values(record, "complete")
    figure = go.Figure()
    _add_points(figure, _with_values(record, "pruned"), lambda trial: trial["number"], record, pruned=True)
    _add_points(figure, complete, lambda trial: trial["number"], record)
    best: list[float] = []
    choose = max if record["better"] == "higher" else min
    for trial in complete:
        best.append(choose([*best[-1:], trial["value"]]))
    figure.add_scatter(
        x=[trial["number"] for trial in complete],
        y=[round_significant(value) for value in best],
        mode="lines",
        line={"width": 2, "color": BEST, "shape": "hv"},
        name="best so far",
        hoverinfo="skip",
    )
    end = f"The best value so far ends at {format_number(best[-1])}." if best else "No trial has been completed."
    return _chart(figure, f"{record['title']} over trials", "trial", end, _values(record))


def setting_charts(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one chart for each setting: the values over it."""
    charts = []
    for name, text in record["over"].items():
        figure = go.Figure()
        for status in ("pruned", "complete"):
            trials = _with_values(record, status)
            _add_points(
                figure, trials, lambda trial, name=name: trial["parameters"][name], record, pruned=status == "pruned"
            )
        kind = str(text).partition(":")[0]
        figure.update_xaxes(type={"log": "log", "choice": "category"}.get(kind, "linear"), exponentformat="power")
        charts += _chart(figure, f"Over {name}", name, f"Values of the trials over {name}.", _values(record))
    return charts


def curve_chart(record: Mapping[str, Any], directory: Path) -> list[dict[str, Any]]:
    """Return the chart of the metric over the steps of every trial, the best one on top; empty without records."""
    figure, values = go.Figure(), []
    order = sorted(
        record["trials"], key=lambda trial: (trial["number"] == record["best"], trial["status"] == "complete")
    )
    for trial in order:
        curve = _mean_curve(directory / trial["directory"], record["metric"])
        if not curve:
            continue
        is_best, complete = trial["number"] == record["best"], trial["status"] == "complete"
        colour = BEST if is_best else COMPLETE if complete else palette.NEUTRAL
        values += [value for _, value in curve]
        figure.add_scatter(
            x=[step for step, _ in curve],
            y=[round_significant(value) for _, value in curve],
            mode="lines",
            line={"width": 2.5 if is_best else 1, "color": colour},
            opacity=1 if is_best else 0.6,
            name=_name(trial),
            hovertemplate="%{y:.4~g} · step %{x}<extra>%{fullData.name}</extra>",
        )
    title = f"{record['title']} over steps"
    return _chart(figure, title, "step", "One line for each trial, the mean over its seeds.", values, "tall")


def _mean_curve(directory: Path, metric: str) -> list[tuple[int, float]]:
    """Return the mean over seeds at each step that all seeds measured."""
    by_seed = [dict(values) for values in metric_history(directory, metric).values()]
    steps = sorted(set.intersection(*map(set, by_seed))) if by_seed else []
    return [(step, sum(values[step] for values in by_seed) / len(by_seed)) for step in steps]


def _with_values(record: Mapping[str, Any], status: str) -> list[dict[str, Any]]:
    """Return the trials of a status, each with its last value."""
    points = []
    for trial in record["trials"]:
        value = trial["value"] if status == "complete" else (trial["rungs"] or [None])[-1]
        if trial["status"] == status and value is not None:
            points.append({**trial, "value": value})
    return points


def _values(record: Mapping[str, Any]) -> list[float]:
    return [trial["value"] for status in ("complete", "pruned") for trial in _with_values(record, status)]


def _add_points(figure: go.Figure, trials: Sequence[Trial], x: Any, record: Trial, pruned: bool = False) -> None:
    is_best = [trial["number"] == record["best"] for trial in trials]
    colours = [palette.NEUTRAL if pruned else BEST if best else COMPLETE for best in is_best]
    figure.add_scatter(
        x=[x(trial) for trial in trials],
        y=[round_significant(trial["value"]) for trial in trials],
        mode="markers",
        marker={
            "size": [11 if best else 6 if pruned else 8 for best in is_best],
            "color": colours,
            "symbol": "circle-open" if pruned else "circle",
        },
        name="ended early" if pruned else "complete",
        text=[_name(trial) for trial in trials],
        hovertemplate="%{y:.4~g}<extra>%{text}</extra>",
    )


def _name(trial: Trial) -> str:
    settings = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial["parameters"].items()
    )
    return plotly_text(f"trial {trial['number']}: {settings}")


def _chart(
    figure: go.Figure, title: str, axis: str, description: str, values: Sequence[float], height: str = ""
) -> list[dict[str, Any]]:
    if not values:
        return []
    wide = min(values) > 0 and max(values) > WIDE_RATIO * min(values)
    figure.update_layout(showlegend=False, hovermode="closest", margin={"l": 8, "r": 10, "t": 8, "b": 8})
    figure.update_xaxes(title={"text": plotly_text(axis), "standoff": 6}, zeroline=False, nticks=6)
    figure.update_yaxes(type="log" if wide else "linear", zeroline=False, nticks=5, tickformat="~g")
    entry = {"title": title, "height": height, "description": description, "logarithmic": wide}
    return [{**entry, "figure": figure_json(figure)}]
