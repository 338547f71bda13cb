"""Reading samples and spectra, reduced to what a page can carry; broken files are reported, not hidden."""

from __future__ import annotations

import base64
import io
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from detente.report.recorded_run import RecordedRun
from detente.report.statistics import thin

NAME = re.compile(r"seed(-?\d+)-step(\d+)\.(npz|png)")
MAX_STEPS, MAX_POINTS, MAX_GRID, MAX_EIGENVALUES, MAX_WIDTH, MAX_BYTES = 24, 512, 40, 800, 720, 160_000
MIN_STEPS, MAX_FRAMES = 6, 1000  # frames of all runs and seeds, about 7 kB each
# What NumPy raises for a file that is truncated, or is not an archive of plain arrays.
READ_ERRORS = (OSError, ValueError, EOFError, KeyError, TypeError, NotImplementedError, zipfile.BadZipFile, zlib.error)
Arrays = dict[str, np.ndarray[Any, Any]]
Files = dict[tuple[int, int], Path]


def snapshot_files(run: RecordedRun, folder: str) -> Files:
    """Return the snapshot files in `folder` by (seed, step), in order."""
    files = {}
    for path in sorted((run.path / folder).glob("seed*-step*.*")):
        match = NAME.fullmatch(path.name)
        if match:
            files[int(match[1]), int(match[2])] = path
    return files


def slider_steps(groups: Sequence[Files]) -> list[int]:
    """Return the steps of the slider: all steps of any run, thinned to at most 24, or fewer for very many seeds."""
    seeds = sum(len({seed for seed, _ in group}) for group in groups)
    count = min(MAX_STEPS, max(MIN_STEPS, MAX_FRAMES // max(seeds, 1)))
    return thin(sorted({step for group in groups for _, step in group}), count)


def read_arrays(path: Path) -> Arrays | str:
    """Return the arrays of an NPZ file, or a message why they cannot be read. Nothing is unpickled."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except READ_ERRORS as error:
        return f"{path.name} could not be read ({type(error).__name__})."


def plane_points(array: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any] | None:
    """Return an (n, 2) array reduced to at most 512 random points (fixed seed), or None for any other array."""
    if array is None or array.ndim != 2 or array.shape[1] != 2 or not np.issubdtype(array.dtype, np.number):
        return None
    if len(array) > MAX_POINTS:
        array = array[np.random.default_rng(0).choice(len(array), MAX_POINTS, replace=False)]
    return array.astype(np.float64)


def downsample_grid(grid: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an (r, c) grid of scores, linearly interpolated to at most 40 evenly spaced rows and columns."""
    for _ in range(2):
        size = len(grid)
        if size > MAX_GRID:
            positions = np.linspace(0, size - 1, MAX_GRID)
            lower = np.minimum(positions.astype(int), size - 2)
            weight = (positions - lower)[:, None]
            grid = grid[lower] * (1 - weight) + grid[lower + 1] * weight
        grid = grid.T
    return grid.astype(np.float64)


def pack(values: np.ndarray[Any, Any], low: float, high: float) -> dict[str, Any]:
    """Return numbers in [low, high] as 16-bit integers in base64, with a resolution of (high - low) / 65535."""
    scale = (high - low) or 1.0
    integers = np.clip(np.round((values.ravel() - low) / scale * 65535), 0, 65535).astype("<u2")
    return {"low": low, "high": low + scale, "data": base64.b64encode(integers.tobytes()).decode()}


def select_eigenvalues(eigenvalues: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return at most 800 finite eigenvalues: the smallest real parts, the largest moduli, and an even selection."""
    values = eigenvalues.ravel()
    values = values[np.isfinite(values)]
    if values.size <= MAX_EIGENVALUES:
        return values
    third = MAX_EIGENVALUES // 3
    extremes = [np.argsort(values.real)[:third], np.argsort(-np.abs(values))[:third]]
    even = np.linspace(0, values.size - 1, third).astype(int)
    return values[np.unique(np.concatenate([*extremes, even]))]


def image_data_url(path: Path) -> str | None:
    """Return an image file as a data URL, reduced in size if it is large, or None if it is not an image."""
    try:
        raw = path.read_bytes()
        with Image.open(io.BytesIO(raw), formats=["PNG"]) as image:
            image.load()
            if image.width <= MAX_WIDTH and len(raw) <= MAX_BYTES:
                return "data:image/png;base64," + base64.b64encode(raw).decode()
            reduced = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    reduced.thumbnail((MAX_WIDTH, 4 * MAX_WIDTH))
    buffer = io.BytesIO()
    reduced.save(buffer, "WEBP", quality=82)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
