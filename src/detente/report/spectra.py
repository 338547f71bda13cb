"""The spectra section's data: eigenvalues of the Jacobian of the descent field in the complex plane, over training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from detente.report import palette
from detente.report.charts import plain
from detente.report.escape import rounded
from detente.report.run import Run
from detente.report.snapshots import Files, chosen_steps, extremes, files, read_arrays

Complex = np.ndarray[Any, Any]


def spectra(runs: Sequence[Run]) -> tuple[dict[str, Any], list[str]]:
    """Return the section's data (steps, seeds, one panel a run) and notes on files that could not be used."""
    groups = [files(run, "spectra") for run in runs]
    steps, notes = chosen_steps(groups), []
    seeds = sorted({seed for group in groups for seed, _ in group})
    panels = [
        _panel(index, run, group, steps, notes) for index, (run, group) in enumerate(zip(runs, groups, strict=True))
    ]
    return {"steps": steps, "seeds": seeds, "panels": panels}, notes


def _panel(index: int, run: Run, group: Files, steps: list[int], notes: list[str]) -> dict[str, Any]:
    """Return one run's eigenvalues by seed and step."""
    frames: dict[str, dict[str, Any]] = {}
    for (seed, step), path in group.items():
        if step not in steps:
            continue
        arrays = read_arrays(path)
        if isinstance(arrays, str) or "eigenvalues" not in arrays:
            notes.append(f"{run.name}: {arrays if isinstance(arrays, str) else path.name + ' holds no eigenvalues.'}")
            continue
        rate = float(arrays["learning_rate"]) if arrays.get("learning_rate", np.zeros(2)).size == 1 else None
        data = {"game": _eigenvalues(arrays["eigenvalues"], rate), "rate": rounded(rate)}
        if "regularised" in arrays:
            data["method"] = _eigenvalues(arrays["regularised"], rate)
        frames.setdefault(str(seed), {})[str(step)] = data
    return {"run": index, "kind": "spectrum" if frames else "none", "frames": frames, "figure": plain(_figure(index))}


def _eigenvalues(values: Complex, rate: float | None) -> dict[str, Any]:
    """Return the shown eigenvalues and, over all of them, the numbers that decide stability."""
    finite = values.ravel()[np.isfinite(values.ravel())]
    shown = extremes(finite)
    summary: dict[str, Any] = {"count": int(values.size), "shown": int(shown.size)}
    if finite.size:
        summary["smallest"] = rounded(float(finite.real.min()), 3)
        # As detente.diagnostics.base.roundoff, so that page and diagnosis count alike.
        zero = finite.size * np.finfo(finite.dtype).eps * np.abs(finite).max()
        summary["unstable"] = int((finite.real < -zero).sum())
        if rate:
            summary["radius"] = rounded(float(np.abs(1 - rate * finite).max()), 4)
    real, imaginary = ([rounded(float(part), 4) for part in parts] for parts in (shown.real, shown.imag))
    return {"x": real, "y": imaginary, **summary}


def _figure(index: int) -> go.Figure:
    """Return the panel without its data: the method's own eigenvalues filled, the plain game's open."""
    figure = go.Figure()
    hover = "%{x:.3~g} %{y:+.3~g} i<extra>%{fullData.name}</extra>"
    plain_game = {"size": 7, "symbol": "circle-open", "color": palette.NEUTRAL, "line": {"width": 1.3}}
    own = {"size": 6, "color": palette.colour(index), "opacity": 0.85}
    figure.add_scatter(mode="markers", marker=plain_game, name="plain game", hovertemplate=hover)
    figure.add_scatter(mode="markers", marker=own, name="method's own field", hovertemplate=hover)
    figure.update_layout(showlegend=False, hovermode="closest", margin={"l": 8, "r": 8, "t": 8, "b": 8})
    figure.update_xaxes(title={"text": "real part"}, zeroline=False, nticks=6)
    figure.update_yaxes(title={"text": "imaginary part"}, zeroline=False, nticks=6)
    return figure
