"""The samples section's data: generated over real points with the discriminator's level sets, or image grids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from detente.report import palette
from detente.report.charts import plain
from detente.report.run import Run
from detente.report.snapshots import Arrays, Files, chosen_steps, coarse, files, packed, picture, points, read_arrays

Frame = tuple[float, float, float, float]


def samples(runs: Sequence[Run]) -> tuple[dict[str, Any], list[str]]:
    """Return the section's data (steps, seeds, one panel a run) and notes on files that could not be used."""
    groups = [files(run, "samples") for run in runs]
    steps, notes = chosen_steps(groups), []
    seeds = sorted({seed for group in groups for seed, _ in group})
    loaded = [_load(run, group, steps, notes) for run, group in zip(runs, groups, strict=True)]
    frame = _frame([arrays for entry in loaded for arrays in entry.values() if not isinstance(arrays, str)])
    panels = [_panel(index, entry, frame) for index, entry in enumerate(loaded)]
    return {"steps": steps, "seeds": seeds, "panels": panels}, notes


def _load(run: Run, group: Files, steps: list[int], notes: list[str]) -> dict[tuple[int, int], Arrays | str]:
    """Return what can be shown by (seed, step): arrays with ``fake``, or the address of a picture."""
    entry: dict[tuple[int, int], Arrays | str] = {}
    for place, path in group.items():
        if place[1] not in steps:
            continue
        if path.suffix == ".png":
            address = picture(path)
            if address:
                entry[place] = address
            else:
                notes.append(f"{run.name}: {path.name} is no readable picture.")
            continue
        arrays = read_arrays(path)
        if isinstance(arrays, str):
            notes.append(f"{run.name}: {arrays}")
        elif points(arrays.get("fake")) is None:
            notes.append(f"{run.name}: {path.name} holds no points in the plane.")
        else:
            entry[place] = arrays
    return entry


def _extent(arrays: Arrays) -> Frame | None:
    """Return the extent of the level sets where there are usable level sets."""
    levels, extent = arrays.get("levels"), arrays.get("extent")
    if levels is None or extent is None or levels.ndim != 2 or min(levels.shape) < 2 or extent.shape != (4,):
        return None
    x0, x1, y0, y1 = (float(edge) for edge in extent)
    return (x0, x1, y0, y1) if np.all(np.isfinite(extent)) and x0 < x1 and y0 < y1 else None


def _frame(entries: list[Arrays]) -> Frame:
    """Return the window common to all runs and steps: the level sets' extent, else the real points' with a margin."""
    extents = [extent for arrays in entries if (extent := _extent(arrays))]
    if extents:
        x0, x1, y0, y1 = zip(*extents, strict=True)
        return min(x0), max(x1), min(y0), max(y1)
    clouds = [cloud for a in entries if (cloud := points(a.get("real"))) is not None]
    clouds = clouds or [points(a["fake"]) for a in entries]
    cloud = np.concatenate([c[np.isfinite(c).all(1)] for c in clouds if c is not None] or [np.zeros((1, 2))])
    cloud = cloud if len(cloud) else np.zeros((1, 2))
    low, high = np.percentile(cloud, 1, axis=0), np.percentile(cloud, 99, axis=0)
    margin = 0.3 * max(float((high - low).max()), 1e-3)
    return low[0] - margin, high[0] + margin, low[1] - margin, high[1] + margin


def _panel(index: int, entry: dict[tuple[int, int], Arrays | str], frame: Frame) -> dict[str, Any]:
    """Return one run's frames by seed and step, and its figure when they are points."""
    frames: dict[str, dict[str, Any]] = {}
    real = None
    for (seed, step), shown in entry.items():
        if isinstance(shown, str):
            data: dict[str, Any] = {"src": shown}
        else:
            data = _point_frame(shown, frame)
            real = shown.get("real", real)
        frames.setdefault(str(seed), {})[str(step)] = data
    if not frames:
        return {"run": index, "kind": "none", "frames": {}}
    if any(isinstance(shown, str) for shown in entry.values()):
        pictures = {s: {t: f for t, f in by_step.items() if "src" in f} for s, by_step in frames.items()}
        return {"run": index, "kind": "images", "frames": pictures}
    figure = plain(_figure(index, frame))
    return {"run": index, "kind": "points", "frames": frames, "real": _cloud(points(real), frame), "figure": figure}


def _cloud(cloud: np.ndarray[Any, Any] | None, frame: Frame) -> dict[str, Any]:
    """Return the points inside the frame, packed, with the number of those outside."""
    cloud = np.zeros((0, 2)) if cloud is None else cloud
    x, y = cloud[:, 0], cloud[:, 1]
    inside = (x >= frame[0]) & (x <= frame[1]) & (y >= frame[2]) & (y <= frame[3])
    x, y = packed(x[inside], frame[0], frame[1]), packed(y[inside], frame[2], frame[3])
    return {"x": x, "y": y, "outside": int((~inside).sum()), "count": len(cloud)}


def _point_frame(arrays: Arrays, frame: Frame) -> dict[str, Any]:
    data = _cloud(points(arrays["fake"]), frame)
    extent = _extent(arrays)
    if extent and np.all(np.isfinite(arrays["levels"])):
        grid = coarse(arrays["levels"])
        data["levels"] = {**packed(grid, float(grid.min()), float(grid.max())), "extent": extent, "shape": grid.shape}
    return data


def _figure(index: int, frame: Frame) -> go.Figure:
    """Return the panel without its data: level sets below, real points, generated points on top."""
    figure = go.Figure()
    # Grey, so that level sets never compete with a run's colour; darker means a higher score (more real).
    scale = [[0.0, "rgba(128,134,145,0.0)"], [1.0, "rgba(128,134,145,0.3)"]]
    lines = {"width": 0.7, "color": "rgba(128,134,145,0.55)"}
    figure.add_contour(showscale=False, hoverinfo="skip", colorscale=scale, ncontours=9, line=lines)
    small = {"size": 4, "color": palette.NEUTRAL, "opacity": 0.4, "symbol": "circle-open"}
    figure.add_scatter(mode="markers", marker=small, name="real", hoverinfo="skip")
    strong = {"size": 4.5, "color": palette.colour(index), "opacity": 0.8}
    figure.add_scatter(mode="markers", marker=strong, name="generated", hoverinfo="skip")
    figure.update_layout(showlegend=False, hovermode=False, margin={"l": 4, "r": 4, "t": 4, "b": 4})
    figure.update_xaxes(range=frame[:2], constrain="domain", showgrid=False, zeroline=False, nticks=5)
    figure.update_yaxes(range=frame[2:], scaleanchor="x", showgrid=False, zeroline=False, nticks=5)
    return figure
