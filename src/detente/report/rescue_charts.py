"""Plotly figures of a rescue: quality over steps of every run, and the signals of the user's own."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import plotly.graph_objects as go

from detente.report import palette
from detente.report.charts import WIDE_RATIO, figure_json, plotly_text
from detente.report.formatting import format_number, round_significant
from detente.report.recorded_run import RecordedRun
from detente.report.rescue_record import Attempt, RecordedFinding
from detente.report.statistics import thin

SIGNALS = Path(__file__).parents[1] / "signals"
VARIES = 0.5  # range of a value from which it varies, relative to its largest magnitude
SHOWN, LINES, MAX_POINTS = 12, 64, 400  # charts that are not folded, lines in a chart, points in a line
INDEXED = re.compile(r"(.+?)_?(\d+)")  # cell_0, cell_1, …: one chart
NAME = re.compile(r"[a-z][a-z0-9_]*")
PLAYERS = {"generator", "discriminator"}
NEUTRAL_WORDS = {"the", "and", "samples", "first", "last", "late", "value", "ratio", "error"}


class Line(NamedTuple):
    """One line of a chart."""

    name: str
    colour: int
    steps: Sequence[int]
    values: Sequence[float]


class Group(NamedTuple):
    """The charts of one signal, by their place among all charts."""

    title: str
    about: str
    charts: Sequence[int]


def quality_charts(attempts: Sequence[tuple[int, str, Attempt]], words: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return one chart for each number of the samples' quality; attempts are given as (colour, name, attempt)."""
    charts = []
    for key, title in words.items():
        lines = [_line(name, colour, attempt, key) for colour, name, attempt in attempts]
        charts += _chart(title, [line for line in lines if line.steps])
    return charts


def score_chart(attempts: Sequence[tuple[int, str, Attempt]]) -> list[dict[str, Any]]:
    """Return the chart of the score over steps; empty if no score was recorded."""
    lines = []
    for colour, name, attempt in attempts:
        points = [(point.step, point.score) for point in attempt.points if point.score is not None]
        lines.append(Line(name, colour, [step for step, _ in points], [score for _, score in points]))
    return _chart("Score", [line for line in lines if line.steps], height="tall")


def loss_charts(run: RecordedRun, colour: int) -> list[dict[str, Any]]:
    """Return one chart for each player's loss."""
    charts = []
    for player in dict.fromkeys(name for t in _ticks(run) for group, name in t.values if group == "losses"):
        points = [(tick.step, tick.values.get(("losses", player))) for tick in _ticks(run)]
        points = thin([(step, value) for step, value in points if value is not None], MAX_POINTS)
        title = f"{_readable(player)}: loss"
        charts += _chart(
            title, [Line("loss", colour, [s for s, _ in points], [v for _, v in points])] if points else []
        )
    return charts


def signal_charts(
    untreated: Attempt, findings: Sequence[RecordedFinding], colour: int, first: int, most: int = SHOWN
) -> tuple[list[dict[str, Any]], list[Group], list[Group]]:
    """Return the charts of all signals, the groups to show, and the groups to fold.

    Charts are shown if they support a finding or vary, at most `most` of them; those that support one come first.

    Args:
        own: the user's own run.
        findings: what was found.
        colour: colour of the lines.
        first: place of the first chart among all charts.
        most: number of charts to show.
    """
    families: dict[tuple[str, str], list[str]] = {}
    for name in dict.fromkeys(name for point in untreated.points for name in point.signals):
        signal, _, value = name.partition(".")
        match = INDEXED.fullmatch(value)
        families.setdefault((signal, f"{match[1]} …" if match else value), []).append(name)
    charts, keys, importance = [], [], []
    for (signal, value), names in families.items():
        lines = []
        for name in names[:LINES]:
            points = [(point.step, point.signals[name]) for point in untreated.points if name in point.signals]
            label = name.partition(".")[2].replace("_", " ")
            lines.append(Line(label, colour, [step for step, _ in points], [number for _, number in points]))
        title = _readable(value.removesuffix(" …")) + (", each" if value.endswith(" …") else "")
        charts += _chart(title, lines)
        keys.append((signal, title))
        importance.append((_supports(signal, value, findings), _variation(lines)))
    order = sorted(range(len(charts)), key=lambda index: importance[index], reverse=True)
    worth = [index for index in order if importance[index][0] or importance[index][1] > VARIES]
    shown = set(worth[:most])
    group = _grouping(keys, first)
    return (
        charts,
        group(order, lambda index: index in shown),
        group(range(len(charts)), lambda index: index not in shown),
    )


def _grouping(
    keys: Sequence[tuple[str, str]], first: int
) -> Callable[[Sequence[int], Callable[[int], bool]], list[Group]]:
    def group(order: Sequence[int], chosen: Callable[[int], bool]) -> list[Group]:
        groups: dict[str, list[int]] = {}
        for index in filter(chosen, order):
            groups.setdefault(keys[index][0], []).append(first + index)
        return [Group(_readable(signal), _about(signal), charts) for signal, charts in groups.items()]

    return group


def _line(name: str, colour: int, attempt: Attempt, key: str) -> Line:
    points = [(point.step, point.quality[key]) for point in attempt.points if key in point.quality]
    return Line(name, colour, [step for step, _ in points], [value for _, value in points])


def _chart(title: str, lines: Sequence[Line], height: str = "") -> list[dict[str, Any]]:
    """Return a chart; empty without lines."""
    if not lines:
        return []
    figure = go.Figure()
    for line in lines:
        figure.add_scatter(
            x=list(line.steps),
            y=[round_significant(value) for value in line.values],
            mode="lines+markers" if len(line.steps) <= 30 and len(lines) <= 8 else "lines",
            line={"width": 2 if len(lines) <= 8 else 1, "color": palette.colour(line.colour)},
            marker={"size": 4},
            opacity=1 if len(lines) <= 8 else 0.6,
            name=plotly_text(line.name),
            hovertemplate="%{y:.4~g} · step %{x}<extra>%{fullData.name}</extra>",
        )
    values = [value for line in lines for value in line.values]
    wide = min(values) > 0 and max(values) > WIDE_RATIO * min(values)
    figure.update_layout(showlegend=False, hovermode="closest", margin={"l": 8, "r": 10, "t": 8, "b": 8})
    figure.update_xaxes(title={"text": "step", "standoff": 6}, zeroline=False, nticks=6)
    figure.update_yaxes(type="log" if wide else "linear", zeroline=False, nticks=5, tickformat="~g")
    if not wide:
        figure.update_yaxes(range=_vertical_range(values))
    last_values = "; ".join(f"{line.name} ends at {format_number(line.values[-1])}" for line in lines[:8])
    return [
        {
            "title": title,
            "height": height,
            "description": f"{last_values}.",
            "logarithmic": wide,
            "figure": figure_json(figure),
        }
    ]


def _vertical_range(values: Sequence[float]) -> list[float | None]:
    """Return a range with a margin; values that hardly change are not magnified."""
    low, high = min(values), max(values)
    margin = max(0.08 * (high - low), 0.02 * max(abs(low), abs(high))) or 0.1
    return [round_significant(low - margin), round_significant(high + margin)]


def _ticks(run: RecordedRun) -> list[Any]:
    return [tick for ticks in run.ticks.values() for tick in ticks]


def _readable(name: str) -> str:
    return name.replace("_", " ").strip().capitalize() or "Value"


@cache
def _source(signal: str) -> ast.Module:
    """Return the syntax of the file that defines a signal, which has its name; empty if there is none."""
    try:
        text = (SIGNALS / f"{signal}.py").read_text(encoding="utf-8") if NAME.fullmatch(signal) else ""
        return ast.parse(text)
    except (OSError, ValueError, SyntaxError):
        return ast.parse("")


def _about(signal: str) -> str:
    """Return the first line of a signal's description; empty if there is none."""
    docstrings = (ast.get_docstring(node) for node in _source(signal).body if isinstance(node, ast.ClassDef))
    return next(filter(None, docstrings), "").partition("\n")[0]


def _names(signal: str, failure: str) -> bool:
    """Whether a signal is one that can find this failure."""
    return any(isinstance(node, ast.Constant) and node.value == failure for node in ast.walk(_source(signal)))


def _stems(text: str) -> set[str]:
    words = set(re.findall(r"[a-z]{3,}", text.lower().replace("_", " ")))
    return {word[:6] for word in words - PLAYERS - NEUTRAL_WORDS}


def _supports(signal: str, value: str, findings: Sequence[RecordedFinding]) -> float:
    """Return how much a value supports the findings, in [0, 1].

    It does if its signal can find the failure, if its words are in the evidence, and most of all if both hold.
    """
    words = _stems(value) or _stems(signal)  # of "generator" in "gradient by layer", the signal decides
    return max(
        (f.certainty * (_names(signal, f.failure) / 2 + bool(words & _stems(f.evidence)) / 3) for f in findings),
        default=0.0,
    )


def _variation(lines: Sequence[Line]) -> float:
    """Return the largest range of a line relative to the largest magnitude of the chart."""
    values = [abs(value) for line in lines for value in line.values]
    spans = [max(line.values) - min(line.values) for line in lines if line.values]
    return max(spans, default=0.0) / max(values) if values and max(values) > 0 else 0.0
