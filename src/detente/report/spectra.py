"""The data of the spectra section: eigenvalues of the Jacobian of the descent field, over training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from detente.report import palette
from detente.report.charts import figure_json
from detente.report.formatting import round_significant
from detente.report.recorded_run import RecordedRun
from detente.report.snapshots import Files, read_arrays, select_eigenvalues, slider_steps, snapshot_files


def spectrum_panels(runs: Sequence[RecordedRun]) -> tuple[dict[str, Any], list[str]]:
    """Return the section's data (steps, seeds, one panel for each run) and notes on files that could not be used."""
    groups = [snapshot_files(run, "spectra") for run in runs]
    steps, notes = slider_steps(groups), []
    seeds = sorted({seed for group in groups for seed, _ in group})
    panels = [
        _panel(index, run, group, steps, notes) for index, (run, group) in enumerate(zip(runs, groups, strict=True))
    ]
    return {"steps": steps, "seeds": seeds, "panels": panels}, notes


def _panel(index: int, run: RecordedRun, group: Files, steps: list[int], notes: list[str]) -> dict[str, Any]:
    """Return the eigenvalues of one run by seed and step."""
    frames: dict[str, dict[str, Any]] = {}
    for (seed, step), path in group.items():
        if step not in steps:
            continue
        arrays = read_arrays(path)
        if isinstance(arrays, str):
            notes.append(f"{run.name}: {arrays}")
            continue
        if "eigenvalues" not in arrays:
            notes.append(f"{run.name}: {path.name} does not contain eigenvalues.")
            continue
        rate = float(arrays["learning_rate"]) if arrays.get("learning_rate", np.zeros(2)).size == 1 else None
        data = {"game": _spectrum(arrays["eigenvalues"], rate), "rate": round_significant(rate)}
        if "regularised" in arrays:
            data["method"] = _spectrum(arrays["regularised"], rate)
        frames.setdefault(str(seed), {})[str(step)] = data
    kind = "spectrum" if frames else "none"
    return {"run": index, "kind": kind, "frames": frames, "figure": figure_json(_figure(index))}


def _spectrum(eigenvalues: np.ndarray[Any, Any], rate: float | None) -> dict[str, Any]:
    """Return the selected eigenvalues, and the numbers that decide stability, computed from all of them."""
    finite = eigenvalues.ravel()[np.isfinite(eigenvalues.ravel())]
    selected = select_eigenvalues(finite)
    summary: dict[str, Any] = {"count": int(eigenvalues.size), "shown": int(selected.size)}
    if finite.size:
        summary["smallest"] = round_significant(float(finite.real.min()), 3)
        # As in detente.diagnostics.base.roundoff, so that the page and `detente diagnose` count alike.
        tolerance = finite.size * np.finfo(finite.dtype).eps * np.abs(finite).max()
        summary["unstable"] = int((finite.real < -tolerance).sum())
        if rate:
            summary["radius"] = round_significant(float(np.abs(1 - rate * finite).max()), 4)
    x, y = ([round_significant(float(part), 4) for part in parts] for parts in (selected.real, selected.imag))
    return {"x": x, "y": y, **summary}


def _figure(index: int) -> go.Figure:
    """Return the figure without its data: the method's own eigenvalues filled, the plain game's open."""
    figure = go.Figure()
    hover = "%{x:.3~g} %{y:+.3~g} i<extra>%{fullData.name}</extra>"
    game_marker = {"size": 7, "symbol": "circle-open", "color": palette.NEUTRAL, "line": {"width": 1.3}}
    method_marker = {"size": 6, "color": palette.colour(index), "opacity": 0.85}
    figure.add_scatter(mode="markers", marker=game_marker, name="plain game", hovertemplate=hover)
    figure.add_scatter(mode="markers", marker=method_marker, name="method's own field", hovertemplate=hover)
    figure.update_layout(showlegend=False, hovermode="closest", margin={"l": 8, "r": 8, "t": 8, "b": 8})
    figure.update_xaxes(title={"text": "real part"}, zeroline=False, nticks=6)
    figure.update_yaxes(title={"text": "imaginary part"}, zeroline=False, nticks=6)
    return figure
