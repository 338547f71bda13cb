"""The data of the samples section: generated and real points with level sets of the discriminator, or image grids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from detente.report import palette
from detente.report.charts import figure_json
from detente.report.recorded_run import RecordedRun
from detente.report.snapshots import (
    Arrays,
    Files,
    downsample_grid,
    image_data_url,
    pack,
    plane_points,
    read_arrays,
    slider_steps,
    snapshot_files,
)

Window = tuple[float, float, float, float]


def sample_panels(runs: Sequence[RecordedRun]) -> tuple[dict[str, Any], list[str]]:
    """Return the section's data (steps, seeds, one panel for each run) and notes on files that could not be used."""
    groups = [snapshot_files(run, "samples") for run in runs]
    steps, notes = slider_steps(groups), []
    seeds = sorted({seed for group in groups for seed, _ in group})
    snapshots = [_load(run, group, steps, notes) for run, group in zip(runs, groups, strict=True)]
    window = _window([arrays for entry in snapshots for arrays in entry.values() if not isinstance(arrays, str)])
    panels = [_panel(index, entry, window) for index, entry in enumerate(snapshots)]
    return {"steps": steps, "seeds": seeds, "panels": panels}, notes


def _load(run: RecordedRun, group: Files, steps: list[int], notes: list[str]) -> dict[tuple[int, int], Arrays | str]:
    """Return the usable snapshots by (seed, step): arrays with ``fake``, or the data URL of an image."""
    snapshots: dict[tuple[int, int], Arrays | str] = {}
    for key, path in group.items():
        if key[1] not in steps:
            continue
        if path.suffix == ".png":
            url = image_data_url(path)
            if url:
                snapshots[key] = url
            else:
                notes.append(f"{run.name}: {path.name} is not a readable image.")
            continue
        arrays = read_arrays(path)
        if isinstance(arrays, str):
            notes.append(f"{run.name}: {arrays}")
        elif plane_points(arrays.get("fake")) is None:
            notes.append(f"{run.name}: {path.name} does not contain points in the plane.")
        else:
            snapshots[key] = arrays
    return snapshots


def _extent(arrays: Arrays) -> Window | None:
    """Return the extent of the level sets, or None if there are no usable level sets."""
    levels, extent = arrays.get("levels"), arrays.get("extent")
    if levels is None or extent is None or levels.ndim != 2 or min(levels.shape) < 2 or extent.shape != (4,):
        return None
    x0, x1, y0, y1 = (float(edge) for edge in extent)
    return (x0, x1, y0, y1) if np.all(np.isfinite(extent)) and x0 < x1 and y0 < y1 else None


def _window(entries: list[Arrays]) -> Window:
    """Return one window for all runs and steps: the extent of the level sets, else the real points with a margin."""
    extents = [extent for arrays in entries if (extent := _extent(arrays))]
    if extents:
        x0, x1, y0, y1 = zip(*extents, strict=True)
        return min(x0), max(x1), min(y0), max(y1)
    clouds = [cloud for arrays in entries if (cloud := plane_points(arrays.get("real"))) is not None]
    clouds = clouds or [plane_points(arrays["fake"]) for arrays in entries]
    cloud = np.concatenate([c[np.isfinite(c).all(1)] for c in clouds if c is not None] or [np.zeros((1, 2))])
    cloud = cloud if len(cloud) else np.zeros((1, 2))
    low, high = np.percentile(cloud, 1, axis=0), np.percentile(cloud, 99, axis=0)
    margin = 0.3 * max(float((high - low).max()), 1e-3)
    return low[0] - margin, high[0] + margin, low[1] - margin, high[1] + margin


def _panel(index: int, snapshots: dict[tuple[int, int], Arrays | str], window: Window) -> dict[str, Any]:
    """Return the frames of one run by seed and step, and for points also its figure."""
    frames: dict[str, dict[str, Any]] = {}
    real = None
    for (seed, step), snapshot in snapshots.items():
        if isinstance(snapshot, str):
            data: dict[str, Any] = {"src": snapshot}
        else:
            data = _point_frame(snapshot, window)
            real = snapshot.get("real", real)
        frames.setdefault(str(seed), {})[str(step)] = data
    if not frames:
        return {"run": index, "kind": "none", "frames": {}}
    if any(isinstance(snapshot, str) for snapshot in snapshots.values()):
        images = {s: {t: f for t, f in by_step.items() if "src" in f} for s, by_step in frames.items()}
        return {"run": index, "kind": "images", "frames": images}
    figure, cloud = figure_json(_figure(index, window)), _pack_points(plane_points(real), window)
    return {"run": index, "kind": "points", "frames": frames, "real": cloud, "figure": figure}


def _pack_points(cloud: np.ndarray[Any, Any] | None, window: Window) -> dict[str, Any]:
    """Return the points inside the window, packed, with the number of points outside."""
    cloud = np.zeros((0, 2)) if cloud is None else cloud
    x, y = cloud[:, 0], cloud[:, 1]
    inside = (x >= window[0]) & (x <= window[1]) & (y >= window[2]) & (y <= window[3])
    x, y = pack(x[inside], window[0], window[1]), pack(y[inside], window[2], window[3])
    return {"x": x, "y": y, "outside": int((~inside).sum()), "count": len(cloud)}


def _point_frame(arrays: Arrays, window: Window) -> dict[str, Any]:
    data = _pack_points(plane_points(arrays["fake"]), window)
    extent = _extent(arrays)
    if extent and np.all(np.isfinite(arrays["levels"])):
        grid = downsample_grid(arrays["levels"])
        data["levels"] = {**pack(grid, float(grid.min()), float(grid.max())), "extent": extent, "shape": grid.shape}
    return data


def _figure(index: int, window: Window) -> go.Figure:
    """Return the figure without its data: level sets, real points above them, and generated points on top."""
    figure = go.Figure()
    # Grey, so that level sets do not look like a run's colour; more opaque means a higher score (more real).
    scale = [[0.0, "rgba(128,134,145,0.0)"], [1.0, "rgba(128,134,145,0.3)"]]
    lines = {"width": 0.7, "color": "rgba(128,134,145,0.55)"}
    figure.add_contour(showscale=False, hoverinfo="skip", colorscale=scale, ncontours=9, line=lines)
    real_marker = {"size": 4, "color": palette.NEUTRAL, "opacity": 0.4, "symbol": "circle-open"}
    figure.add_scatter(mode="markers", marker=real_marker, name="real", hoverinfo="skip")
    fake_marker = {"size": 4.5, "color": palette.colour(index), "opacity": 0.8}
    figure.add_scatter(mode="markers", marker=fake_marker, name="generated", hoverinfo="skip")
    figure.update_layout(showlegend=False, hovermode=False, margin={"l": 4, "r": 4, "t": 4, "b": 4})
    figure.update_xaxes(range=window[:2], constrain="domain", showgrid=False, zeroline=False, nticks=5)
    figure.update_yaxes(range=window[2:], scaleanchor="x", showgrid=False, zeroline=False, nticks=5)
    return figure
